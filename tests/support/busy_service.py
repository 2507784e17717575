"""A process that serves and says ``busy`` once twenty callers wait for its engine.

    python busy_service.py held|stuck [FINISH_SECONDS END_SECONDS]

``held``: the engine never answers. ``stuck``: rows never get their prompts, in a thread.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

CALLERS = 20


def main(kind: str, *seconds: str) -> None:
    from scripted import ScriptedEngine, classifier

    from ecomfs.pipeline import Pipeline
    from ecomfs.serve import create_app, server

    end_within = server.END_SECONDS
    if seconds:
        server.FINISH_SECONDS, end_within = int(seconds[0]), float(seconds[1])
    clf = classifier(ScriptedEngine(batch=4, held=True))
    if kind == "stuck":

        def prepare(*_: Any, **__: Any) -> Sequence[Any]:
            while True:
                time.sleep(1)

        Pipeline.prepare = prepare  # type: ignore[method-assign, assignment]
    with server.bind("127.0.0.1", 0, api_key=None) as sock:
        url = server.url_of(sock)

        def callers() -> None:
            address = urlsplit(url).netloc
            body = json.dumps({"rows": [f"row {i}" for i in range(50)]})
            waiting = []
            for _ in range(CALLERS):
                connection = http.client.HTTPConnection(address, timeout=600)
                headers = {"Content-Type": "application/json"}
                connection.request("POST", "/v1/classify", body, headers)
                waiting.append(connection)
            probe = http.client.HTTPConnection(address, timeout=600)
            line = b'ecomfs_rows_waiting{task="review_sentiment"} 950.0'
            while True:  # one request is being read, the others wait
                probe.request("GET", "/metrics")
                if line in probe.getresponse().read():
                    break
                time.sleep(0.05)
            print("busy", flush=True)
            time.sleep(600)

        def on_ready() -> None:
            threading.Thread(target=callers, daemon=True).start()

        server.run(create_app(clf), sock, on_ready=on_ready, end_within=end_within)


if __name__ == "__main__":
    main(*sys.argv[1:])
