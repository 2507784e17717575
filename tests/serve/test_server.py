from __future__ import annotations

import socket

import pytest

pytest.importorskip("uvicorn")

from ecomfs.errors import ConfigError
from ecomfs.serve.server import bind, is_loopback, url_of


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "shop.example"])
@pytest.mark.parametrize("key", [None, ""])
def test_beyond_this_machine_a_key_is_needed(host: str, key: str | None) -> None:
    assert not is_loopback(host)
    with pytest.raises(ConfigError, match="ECOMFS_API_KEY"):
        bind(host, 0, api_key=key)


def test_with_a_key_any_address_may_be_bound() -> None:
    with bind("0.0.0.0", 0, api_key="key") as sock:
        assert sock.getsockname()[1] > 0


def test_a_taken_port_is_told() -> None:
    with bind("127.0.0.1", 0, api_key=None) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{port}.*--port"):
            bind("127.0.0.1", port, api_key=None)


@pytest.mark.parametrize(
    ("host", "port"), [("127.0.0.1", 99999), ("127.0.0.1", -1), ("no.such.host.invalid", 80)]
)
def test_addresses_that_are_none(host: str, port: int) -> None:
    with pytest.raises(ConfigError, match="--port"):
        bind(host, port, api_key="key")


def test_nobody_is_let_in_before_the_application_listens() -> None:
    with bind("127.0.0.1", 0, api_key=None) as sock, socket.socket() as caller:
        with pytest.raises(ConnectionRefusedError):
            caller.connect(sock.getsockname())
        assert url_of(sock) == f"http://127.0.0.1:{sock.getsockname()[1]}"
