"""Generated requests over every operation of ``/openapi.json``, by schemathesis.

    pip install schemathesis                                  # in any environment
    python eval/bench/openapi.py [--st PATH/TO/st] [--examples 25]

A service with keys, an open and a decided review, and a finished run is started. The generated
requests carry a key that may do everything. Operations under an id are asked twice: with generated
ids, and with ids that exist. No model: the experts answer. The exit status is not 0 where a request
met a server error, or an answer that the description does not allow.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)
POOL = Path(__file__).parents[2] / "samples/review_sentiment/pool.csv"


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, str]]:
    """The address of a service, and a key that may do everything."""
    from ecomfs.serve.keys import new_key

    key, digest = new_key()
    config = {
        "database": str(folder / "shop.db"),
        "options": {"engine": "none", "embedder": "hashed", "language": "en"},
        "review_below": 0.9,
        "keys": [{"name": "operator", "hash": digest, "scopes": ["admin"]}],
        "tasks": {"review_sentiment": {"examples": str(POOL)}},
    }
    file = folder / "ecomfs.yaml"
    file.write_text(json.dumps(config), encoding="utf-8")
    command = [sys.executable, "-m", "ecomfs", "serve", str(file), "--port", "0"]
    environment = {k: v for k, v in os.environ.items() if k != "ECOMFS_API_KEY"}
    log = (folder / "log").open("w+", encoding="utf-8")
    process = subprocess.Popen(command, stderr=log, env=environment)
    try:
        while True:
            found = re.search(r"serving at (http://\S+)", (folder / "log").read_text("utf-8"))
            if found:
                break
            if process.poll() is not None:
                raise SystemExit((folder / "log").read_text("utf-8"))
            time.sleep(0.1)
        yield found[1], key
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        log.close()


def ask(url: str, key: str, method: str, path: str, body: Any = None, media: str = "json") -> Any:
    """One request; the answer must be JSON."""
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}{path}", data, method=method)
    request.add_header("Authorization", f"Bearer {key}")
    request.add_header("Content-Type", f"application/{media}")
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def filled(url: str, key: str) -> dict[str, str]:
    """Make what requests can be about: path of an operation → an id that exists."""
    added = ask(url, key, "POST", "/v1/reviews", {"rows": ["so so", "it is fine", "not what"]})
    first, second, _ = (review["id"] for review in added["reviews"])
    ask(url, key, "POST", f"/v1/reviews/{first}/decide", {"label": "positive"})
    table = b"text\nfine\nbroke at once\nso so, really\n"
    run = ask(url, key, "POST", "/v1/runs?name=a.csv", table, "octet-stream")["id"]
    while ask(url, key, "GET", f"/v1/runs/{run}")["state"] not in ("done", "failed"):
        time.sleep(0.1)
    return {"/v1/reviews/": second, "/v1/runs/": run}


def configured(folder: Path, ids: dict[str, str]) -> Path:
    """A configuration of schemathesis: ids that exist are among those that it sends."""
    file = folder / "schemathesis.toml"
    parts = [
        f'[[operations]]\ninclude-path-regex = "^{path}"\nparameters = {{ "path.id" = "{id}" }}\n'
        for path, id in ids.items()
    ]
    file.write_text("\n".join(parts), encoding="utf-8")
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--st", default=shutil.which("st"), help="the program of schemathesis")
    parser.add_argument("--examples", type=int, default=25, help="generated cases an operation")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.st is None:
        raise SystemExit("schemathesis is not installed: pip install schemathesis")
    codes = []
    with tempfile.TemporaryDirectory() as name, served(Path(name)) as (url, key):
        command = [arguments.st]
        options = ["run", f"{url}/openapi.json", "-H", f"Authorization: Bearer {key}"]
        options += ["--exclude-path-regex", "events", "--checks", ",".join(CHECKS)]
        options += ["--phases", "examples,coverage,fuzzing", "-n", str(arguments.examples)]
        options += ["--seed", str(arguments.seed), "--continue-on-failure", "--no-color"]
        for ids in ({}, filled(url, key)):
            more = options + (["--include-path-regex", "{id}"] if ids else [])
            with_ids = ["--config-file", str(configured(Path(name), ids))] if ids else []
            # It keeps a folder of findings where it runs.
            done = subprocess.run([*command, *with_ids, *more], cwd=name, check=False)
            codes.append(done.returncode)
    sys.exit(max(codes))


if __name__ == "__main__":
    main()
