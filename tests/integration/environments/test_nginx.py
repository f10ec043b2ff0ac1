"""The nginx fixture serves over TLS with a certificate that a client can verify."""

from pathlib import Path

import pytest
import requests

from tests.environments import tls
from tests.environments.daemon import free_port
from tests.environments.fixtures import installed
from tests.environments.nginx import nginx

pytestmark = pytest.mark.server


def test_serves_over_tls(tmp_path: Path) -> None:
    certificate, port = tls.for_loopback(tmp_path), free_port()
    (tmp_path / "a").write_text("content")
    server = f"""
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificate.certificate};
        ssl_certificate_key {certificate.key};
        root {tmp_path};
    }}"""
    with installed(nginx(server, port=port)):
        answer = requests.get(f"https://localhost:{port}/a", verify=str(certificate.authority), timeout=10)
        assert answer.text == "content"
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(f"https://localhost:{port}/a", timeout=10)
