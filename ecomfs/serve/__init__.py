"""The classifier over HTTP (needs the ``serve`` extra): rows in requests, predictions in responses.

app.py          the application: what is mounted where
config.py       ecomfs.yaml
tasks.py        the tasks of a service: classifier, pool and reviews of each
service.py      rows of requests to the classifier and back
split.py        traffic split between variants, and its log
batcher.py      concurrent small requests become calls of the engine's batch size
reviews.py      rows that wait for a person, and what people decided
runs.py         uploaded tables, scored in the background
tables.py       the tables beside the pool (migrations/ makes them); writes that can be sent again
keys.py         keys of callers, scopes, rates, signed-in browsers
middleware.py   request ids and log lines; callers that left; checks before a body is read
metrics.py      counts for Prometheus
schemas.py      bodies that several routes share
problems.py     every error as a problem document (RFC 9457), and without data in logs
server.py       binding a socket, connections and their limits, running the application
api/            routes under /v1/, one module for each noun
pages/          HTML pages
"""

from ecomfs.serve.app import create_app
from ecomfs.serve.split import SplitService

__all__ = ["SplitService", "create_app"]
