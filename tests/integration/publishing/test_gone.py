"""Clouds that are gone, silent or not who they say, told of in plain words instead of an HTTP library's."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import openstack
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pipeline.base.home import Home
from pipeline.publishing.cloud import connect as cloud_connect
from pipeline.publishing.cloud.errors import CloudError, CloudUnreachable
from pipeline.publishing.cloud.http import Http
from tests.integration.publishing.world import hurried

pytestmark = pytest.mark.server


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def cloud(port: int, scheme: str = "http") -> Http:
    endpoint = f"{scheme}://127.0.0.1:{port}/v2"
    connection = openstack.connection.Connection(auth_type="admin_token", auth={"endpoint": endpoint, "token": "x"})
    return Http(connection.image, "test", hurried())


def test_nobody_listens() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        http = cloud(nobody.getsockname()[1])
        with pytest.raises(CloudUnreachable) as caught:
            http.once("GET", "/images", "list images")
    message = "cloud test does not answer (list images): nothing listens there (connection refused)"
    assert caught.value.message == message


def test_no_identity_service_listens(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        auth = {"auth_url": f"http://127.0.0.1:{port}/v3", "username": "u", "password": "p", "project_name": "x"}
        (tmp_path / "clouds.yaml").write_text(json.dumps({"clouds": {"far": {"auth": auth}}}))
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
        with pytest.raises(CloudUnreachable) as caught:
            cloud_connect.connect(home, "far", retry_policy=hurried())
    message = "cloud far does not answer (find the image service): nothing listens there (connection refused)"
    assert caught.value.message == message


def test_it_says_nothing(listening: socket.socket) -> None:
    with pytest.raises(CloudUnreachable) as caught:
        cloud(listening.getsockname()[1]).once("GET", "/images", "list images", timeout=0.3)
    assert caught.value.message == "cloud test does not answer (list images): no answer within 0.3 s"


def _each(listening: socket.socket, answer: Callable[[socket.socket], None]) -> None:
    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                answer(connection)

    threading.Thread(target=serve, daemon=True).start()


def test_it_hangs_up(listening: socket.socket) -> None:
    _each(listening, lambda connection: None)
    with pytest.raises(CloudUnreachable) as caught:
        cloud(listening.getsockname()[1]).once("GET", "/images", "list images")
    assert caught.value.message == "cloud test does not answer (list images): the connection broke"


def test_its_body_breaks_off(listening: socket.socket) -> None:
    def half(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")

    _each(listening, half)
    http = cloud(listening.getsockname()[1])
    with pytest.raises(CloudUnreachable) as caught, http.blocks("/images/1/file", "read image 1") as (_, blocks):
        list(blocks)
    assert caught.value.message == "the connection to cloud test failed (read image 1): the connection broke"


def test_its_certificate_is_nobodys(listening: socket.socket, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(tmp_path / "server.pem"))

    def handshake(connection: socket.socket) -> None:
        try:
            context.wrap_socket(connection, server_side=True).close()
        except OSError:
            pass  # the client does not trust it

    _each(listening, handshake)
    with pytest.raises(CloudError) as caught:
        cloud(listening.getsockname()[1], "https").once("GET", "/images", "list images")
    assert not isinstance(caught.value, CloudUnreachable), "trying again is no use"
    assert caught.value.message.startswith("cloud test cannot be spoken to safely: its certificate is not trusted here")
    assert "cacert" in str(caught.value.hint)


def _certificate(target: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
    signed = made.not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    target.write_bytes(secret + signed.public_bytes(serialization.Encoding.PEM))
    return target
