"""A process that can be started where vLLM would be: it is ready, dies or never gets ready, as its
first argument says, and leaves a child of its own behind."""

from __future__ import annotations

import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


if __name__ == "__main__":
    behaviour, arguments = sys.argv[1], sys.argv[2:]
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print(f"child {child.pid}", flush=True)
    if behaviour == "dies":
        print("ValueError: the model is too large\n\n", flush=True)
        sys.exit(3)
    if behaviour == "hangs":
        child.wait()
    port = int(arguments[arguments.index("--port") + 1])
    print("ready", flush=True)
    HTTPServer(("127.0.0.1", port), Handler).serve_forever()
