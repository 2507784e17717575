from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn")

from ecomfs.cli.serve import serve
from ecomfs.errors import ConfigError, MissingFileError
from ecomfs.serve.server import Server, Tls, bind, configuration, is_loopback, url_of


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "shop.example"])
@pytest.mark.parametrize("key", [None, ""])
def test_beyond_this_machine_a_key_is_needed(host: str, key: str | None) -> None:
    assert not is_loopback(host)
    with pytest.raises(ConfigError, match="ECOMFS_API_KEY"):
        bind(host, 0, api_key=key)


def test_with_a_key_any_address_may_be_bound() -> None:
    with bind("0.0.0.0", 0, api_key="key") as sock:
        assert sock.getsockname()[1] > 0


def test_answers_do_not_wait_for_acknowledgements() -> None:
    """asyncio switches Nagle's algorithm off only for sockets with a known protocol."""
    with bind("127.0.0.1", 0, api_key=None) as sock:
        assert sock.proto == socket.IPPROTO_TCP


def test_a_taken_port_is_reported() -> None:
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


def test_no_connection_is_accepted_before_the_application_listens() -> None:
    with bind("127.0.0.1", 0, api_key=None) as sock, socket.socket() as caller:
        with pytest.raises(ConnectionRefusedError):
            caller.connect(sock.getsockname())
        assert url_of(sock) == f"http://127.0.0.1:{sock.getsockname()[1]}"


def test_https_with_your_own_certificate(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)

    async def hello(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": scope["scheme"].encode()})

    with bind("127.0.0.1", 0, api_key=None) as sock:
        ready = threading.Event()
        server = Server(configuration(hello, tls=Tls(certificate, key)), ready.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            assert ready.wait(60)
            url = url_of(sock, "https")
            trusting = ssl.create_default_context(cafile=str(certificate))
            with urllib.request.urlopen(url, context=trusting, timeout=60) as answer:
                assert answer.read() == b"https"
            with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
                urllib.request.urlopen(url, timeout=60)
        finally:
            server.should_exit = True
            thread.join()


def test_certificates_that_are_none(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    with pytest.raises(MissingFileError, match=r"none\.pem: no such file"):
        Tls(certificate, tmp_path / "none.pem")
    with pytest.raises(ConfigError, match="--tls-key"):
        Tls(key, certificate)
    with pytest.raises(ConfigError, match="--tls-key without --tls-certificate"):
        serve(task="review_sentiment", examples="pool.csv", tls_key=key)


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, and its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    made = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    made += ["-nodes", "-keyout", str(key), "-out", str(certificate), "-days", "2"]
    made += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(made, check=True, capture_output=True)
    return certificate, key
