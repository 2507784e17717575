"""The classifier over HTTP (needs the ``serve`` extra): rows in requests, predictions in responses.

app.py          the application and its routes
config.py       ecomfs.yaml
tasks.py        the tasks of a service: classifier, pool and reviews of each
service.py      classifies the rows of requests
split.py        traffic split between variants, and its log
batcher.py      joins concurrent small requests into engine batches
reviews.py      rows that wait for review, and decisions
runs.py         uploaded tables, scored in the background
tables.py       the tables beside the pool (migrations/ makes them); idempotent writes
keys.py         API keys, scopes, rate limits, sign-in cookies
middleware.py   request ids and log lines; disconnected callers; checks before a body is read
metrics.py      Prometheus metrics
schemas.py      bodies that several routes share
problems.py     errors as problem documents (RFC 9457), and in logs without data
server.py       socket, connection limits, running the application
api/            routes under /v1/, one module per resource
pages/          HTML pages
"""

from ecomfs.serve.app import create_app
from ecomfs.serve.split import SplitService

__all__ = ["SplitService", "create_app"]
