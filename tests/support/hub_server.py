"""A loopback HTTP server that answers as the Hugging Face hub and ModelScope do, and fails on
demand."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

REPO = "org/small-GGUF"


@dataclass
class Hub:
    """Content and behaviour of the server.

    Attributes:
        files: path → content of the one repository.
        sent: path → content that is sent instead of it.
        cut: bytes after which the next downloads break off, one number a download.
        ranges: whether downloads may begin in the middle.
        status: HTTP status of everything, if set; ``error_code`` goes with it.
        page: content of every answer, if set, as from a login page.
        cdn: address that downloads are redirected to, if set.
        requests: path and headers of every request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    sent: dict[str, bytes] = field(default_factory=dict)
    cut: list[int] = field(default_factory=list)
    ranges: bool = True
    status: int = 0
    error_code: str = ""
    page: bytes = b""
    cdn: str = ""
    url: str = ""
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def downloads(self) -> list[str]:
        """``Range`` of every download, empty without one."""
        return [
            headers.get("Range", "")
            for path, headers in self.requests
            if "/resolve/" in path or "FilePath=" in path
        ]


@contextmanager
def serving_hub(**files: bytes) -> Iterator[Hub]:
    hub = Hub(dict(files))

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            hub.requests.append((self.path, dict(self.headers)))
            self.close_connection = True
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            if hub.status:
                self._head(hub.status, {"X-Error-Code": hub.error_code, "Content-Length": "0"})
            elif hub.page:
                self._head(200, {"Content-Length": str(len(hub.page))})
                self.wfile.write(hub.page)
            elif parts.path == f"/api/models/{REPO}":
                self._json(200, _huggingface(hub))
            elif parts.path == f"/api/v1/models/{REPO}/repo/files":
                self._json(200, _modelscope(hub))
            elif parts.path == f"/api/v1/models/{REPO}/repo":
                self._file(query["FilePath"])
            elif parts.path.startswith(f"/{REPO}/resolve/"):
                self._file(parts.path.split("/", 5)[5])
            elif parts.path.startswith("/api/v1/"):
                self._json(404, {"Code": 10010205001, "Message": "no model", "Success": False})
            else:
                self._head(404, {"X-Error-Code": "RepoNotFound", "Content-Length": "0"})

        def _head(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def _json(self, status: int, value: Any) -> None:
            body = json.dumps(value).encode()
            self._head(
                status, {"Content-Type": "application/json", "Content-Length": str(len(body))}
            )
            self.wfile.write(body)

        def _file(self, path: str) -> None:
            if hub.cdn:
                self._head(302, {"Location": hub.cdn + self.path, "Content-Length": "0"})
                return
            content = hub.sent.get(path, hub.files[path])
            asked = self.headers.get("Range", "") if hub.ranges else ""
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            headers = {"Content-Length": str(len(content) - start)}
            if asked:
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._head(206 if asked else 200, headers)
            end = start + hub.cut.pop(0) if hub.cut else len(content)
            self.wfile.write(content[start:end])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _huggingface(hub: Hub) -> dict[str, Any]:
    return {
        "id": REPO,
        "sha": "c" * 40,
        "tags": ["gguf", "license:apache-2.0"],
        "siblings": [
            {
                "rfilename": path,
                "size": len(content),
                "blobId": "b" * 40,
                "lfs": {
                    "sha256": sha256(content).hexdigest(),
                    "size": len(content),
                    "pointerSize": 134,
                },
            }
            for path, content in hub.files.items()
        ],
    }


def _modelscope(hub: Hub) -> dict[str, Any]:
    files = [
        {
            "Path": path,
            "Name": path.rpartition("/")[2],
            "Type": "blob",
            "Size": len(content),
            "Sha256": sha256(content).hexdigest(),
            "Revision": "r",
        }
        for path, content in hub.files.items()
    ]
    folder = {"Path": "Q8_0", "Name": "Q8_0", "Type": "tree", "Size": 0, "Sha256": ""}
    return {"Code": 200, "Success": True, "Message": "success", "Data": {"Files": [folder, *files]}}
