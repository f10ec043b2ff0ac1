"""Check what several rooms need together, for ``./inv doctor``."""

from __future__ import annotations

import contextlib
import errno
import socket
import urllib.request
from collections.abc import Iterator

from pipeline.base import json_text
from pipeline.base.home import Home
from pipeline.host import doctor
from pipeline.host.doctor import PreflightResult
from pipeline.host.system import ports
from pipeline.imageservice.settings import FILE_NAME, Settings


@doctor.rule("service port")
def service_port(home: Home) -> Iterator[PreflightResult]:
    """Check that the bundled image service runs, or could listen where its settings say."""
    host, port = Settings.load().address
    address = f"{host}:{port}"
    other = f"set another one: `listen: {host}:9293` in {home.service / FILE_NAME}"
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            yield doctor.good(f"{address} is free")
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            yield doctor.failure(f"nobody can listen on {address}: {error.strerror}", other)
        elif _is_image_service(address):
            yield doctor.good(f"an image service answers on {address}")
        else:
            who = ports.listener(port) or "somebody else"
            yield doctor.failure(f"{address} is taken by {who}", f"stop it, or {other}")


def _is_image_service(address: str) -> bool:
    """Whether the versions document of the Image API is what answers."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        # A proxy would answer for somebody else, and 300 is how Glance answers.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            answer = opener.open(f"http://{address}/versions", timeout=5)
        except urllib.request.HTTPError as other_status:
            answer = other_status
        with answer:
            return bool(json_text.loads(answer.read(1 << 20)).get("versions"))
    return False
