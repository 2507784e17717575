"""A real PostgreSQL server of the test run's own, on a random loopback port.

Debian's package ``postgresql`` (``make postgres`` or ``apt-get install postgresql``) brings the
programs; no running service is needed or touched.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import sqlalchemy as sa

_OWNER = "ecomfs"


def programs() -> Path | None:
    """The folder of ``initdb`` and ``pg_ctl``, newest version first."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    on_path = shutil.which("initdb")
    return found[0].parent if found else Path(on_path).parent if on_path else None


def new_database(server: str) -> str:
    """The URL of a new database on a server."""
    name = f"made_{uuid4().hex}"
    engine = sa.create_engine(server + "postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE template0"))
    engine.dispose()
    return server + name


@contextmanager
def server(binaries: Path) -> Iterator[str]:
    """Start a server; its URL, ending in ``/``, to which a database's name is added."""
    # PostgreSQL refuses to run as root: its own user, who must own the folder, runs it then.
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="ecomfs-postgres-"))
    password = secrets.token_hex(16)
    (folder / "password").write_text(password)
    if user:
        for path in (folder, folder / "password"):
            shutil.chown(path, user)

    def run(program: str, *arguments: str) -> None:
        done = subprocess.run(
            [binaries / program, "-D", folder / "data", *arguments],
            user=user,
            cwd=folder,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        if done.returncode:
            log = folder / "log"
            told = log.read_text() if log.exists() else ""
            raise RuntimeError(f"{program}: {done.stderr}{told}")

    try:
        run(
            "initdb",
            "-U",
            _OWNER,
            "-A",
            "scram-sha-256",
            "--pwfile",
            str(folder / "password"),
            "-E",
            "UTF8",
            "--no-locale",
            "--no-sync",
        )
        port = _free_port()
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories=''"
        run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgresql+psycopg://{_OWNER}:{password}@127.0.0.1:{port}/"
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
