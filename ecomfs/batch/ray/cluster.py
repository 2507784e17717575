"""Connects to a Ray cluster, or starts one on this machine, without telemetry."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ecomfs.batch.ray.actor import QUIET
from ecomfs.core.messages import one_line
from ecomfs.errors import ConfigError, EngineUnavailableError

_ANSWERS_SECONDS = 5.0
_STORE_BYTES = 256 << 20
_ADDRESS = re.compile(r"^(?P<host>\[[0-9a-fA-F:]+\]|[^:/\s]+):(?P<port>\d{1,5})$")


@contextmanager
def cluster(address: str | None = None) -> Iterator[Any]:
    """Context manager that gives the module ``ray``, connected to a cluster.

    Args:
        address: ``host:port`` of the head, or ``auto`` for the cluster on this machine; ``None``
            starts one here and stops it at the end.

    Raises:
        ConfigError: Ray is not installed, or the address is invalid.
        EngineUnavailableError: no cluster answers at the address, or its version differs.
    """
    head = None if address in (None, "local") else _checked(str(address))
    os.environ.update(QUIET)  # before the import, which reads some of them
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "--runner ray: Ray is not installed", hint="pip install 'ecomfs[ray]'"
        ) from error
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if head is None:
        # No dashboard and no metrics agent for a cluster that ends with the run.
        os.environ.setdefault("RAY_enable_metrics_collection", "0")
        options |= {
            "address": "local",
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
            "_node_ip_address": "127.0.0.1",
        }
    else:
        options["address"] = head
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
        where = "here" if head is None else f"at {address}"
        raise EngineUnavailableError(
            f"no Ray cluster {where}: {one_line(error)}", hint=_HINT if head else ""
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


_HINT = (
    "run 'ray status' on its head; versions of Ray and Python must be equal, and "
    "RAY_AUTH_MODE and RAY_AUTH_TOKEN those of the cluster"
)


def _checked(address: str) -> str:
    """Check that an address accepts connections; Ray itself would retry for minutes."""
    if address == "auto":
        return address
    match = _ADDRESS.match(address)
    if match is None or int(match["port"]) > 65_535:
        client = address.startswith("ray://")
        raise ConfigError(
            f"--ray-address {address!r}",
            hint="run the command on a machine of the cluster, with HOST:PORT of its head"
            if client
            else "write HOST:PORT of the head (default 6379), auto, or nothing",
        )
    try:
        place = (match["host"].strip("[]"), int(match["port"]))
        socket.create_connection(place, _ANSWERS_SECONDS).close()
    except OSError as error:
        raise EngineUnavailableError(
            f"no Ray cluster answers at {address}: {error.strerror or error}", hint=_HINT
        ) from error
    return address
