"""The classifier over HTTP (needs the ``serve`` extra).

app.py       the application: routes and their documentation
service.py   from a request to the classifier and back
arms.py      traffic split between several classifiers, and its log
batcher.py   concurrent small requests become engine-sized calls
schemas.py   request and response bodies
guard.py     what a request must satisfy before it is read: host, key, media type, size
problems.py  every error as one shape (RFC 9457)
server.py    binding a socket safely, running the application on it
"""

from ecomfs.serve.app import create_app
from ecomfs.serve.arms import Arms

__all__ = ["Arms", "create_app"]
