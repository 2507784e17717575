"""A process with few file handles that serves, and is asked over more connections than it has."""

from __future__ import annotations

import resource
import subprocess
import sys
from urllib.parse import urlsplit

SOFT, HARD = resource.getrlimit(resource.RLIMIT_NOFILE)
FEW = 400

CALLER = """
import http.client, resource, socket, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]), hard))
host, port = sys.argv[1].split(":")
idle = []
for i in range(600):
    idle.append(socket.create_connection((host, int(port)), timeout=60))
    if i % 150 == 0:
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        connection.request("GET", "/livez")
        print(connection.getresponse().status, flush=True)
        connection.close()
"""


def main() -> None:
    from scripted import classifier
    from serving import serving

    from ecomfs.serve import create_app
    from ecomfs.serve.server import Limits

    # More than there are handles for: the system's limit is met, not the service's own.
    with serving(create_app(classifier()), Limits(connections=10_000)) as url:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FEW, HARD))
        parts = urlsplit(url)
        subprocess.run(
            [sys.executable, "-c", CALLER, f"{parts.hostname}:{parts.port}", str(SOFT)],
            check=True,
            close_fds=True,
        )


if __name__ == "__main__":
    main()
