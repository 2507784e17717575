"""What every room uses: the event loop, SQLite settings, a cache on disk, retries."""
