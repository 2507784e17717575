"""Infrastructure for all rooms: event loop, HTTP and retries, SQLite settings, a disk cache."""
