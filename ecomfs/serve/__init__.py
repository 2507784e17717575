"""The classifier over HTTP (needs the ``serve`` extra): rows in requests, predictions in responses.

app.py       routes and their documentation
service.py   requests to the classifier and back
split.py     traffic split between variants, and its log
batcher.py   concurrent small requests become calls of the engine's batch size
schemas.py   request and response bodies
guard.py     checks before a body is read: host, key, media type, size
problems.py  every error as a problem document (RFC 9457)
server.py    binding a socket, running the application
"""

from ecomfs.serve.app import create_app
from ecomfs.serve.split import SplitService

__all__ = ["SplitService", "create_app"]
