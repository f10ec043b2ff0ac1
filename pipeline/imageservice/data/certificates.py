"""Fetch the certificates that image signatures are checked with."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
import uuid
from pathlib import Path

from cryptography import x509

from pipeline.base.errors import PipelineError
from pipeline.base.retry import TRANSIENT, RetryPolicy
from pipeline.imageservice.access.caller import Caller
from pipeline.signing.trust import certificates
from pipeline.signing.trust.certificates import CertificateMissing, LocalCertificates

_SECONDS = 10
_RETRIES = RetryPolicy(attempts=3, first=0.25, heed=5.0)  # a request waits for it
_LARGEST = 256 << 10
CATALOG = "catalog"


class Certificates:
    """The certificates a caller can use: the service's own, then those of the key manager.

    ``key_manager``: its URL, or ``"catalog"`` for the one in the caller's token. It is asked with the caller's token,
    since it decides who may read a certificate.
    """

    def __init__(self, folder: Path, key_manager: str | None, caller: Caller) -> None:
        self._own, self._caller = LocalCertificates(folder), caller
        self._key_manager = key_manager_url(key_manager, caller)

    def get(self, identity: str) -> x509.Certificate:
        """See ``CertificateSource``."""
        try:
            return self._own.get(identity)
        except CertificateMissing:
            if self._key_manager is None:
                raise _missing(identity) from None
        except PipelineError:
            raise _missing(identity) from None
        return self._fetch(self._key_manager, identity)

    def _fetch(self, url: str, identity: str) -> x509.Certificate:
        try:
            name = str(uuid.UUID(identity))
        except ValueError:
            raise _missing(identity) from None
        base = re.sub(r"(/v1)?/*$", "/v1", url)
        if not base.startswith(("https://", "http://")):
            raise _missing(identity)
        address, headers = f"{base}/secrets/{name}/payload", {"Accept": "application/octet-stream"}
        request = urllib.request.Request(address, headers=headers)  # noqa: S310 - checked
        if self._caller.token:
            request.add_unredirected_header("X-Auth-Token", self._caller.token)
        try:
            return certificates.parse(_RETRIES.call(lambda: _read(request), _may_pass), name=name)
        except (OSError, PipelineError):
            raise _missing(identity) from None


def _read(request: urllib.request.Request) -> bytes:
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310 - checked
        return bytes(answer.read(_LARGEST))


def _may_pass(error: Exception) -> bool:
    """Whether the key manager may answer in a moment; what it refuses it goes on refusing, and silence lasts."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code in TRANSIENT
    reason = getattr(error, "reason", error)
    return isinstance(reason, ConnectionError)


def key_manager_url(setting: str | None, caller: Caller) -> str | None:
    """Return the key manager's URL as the settings say it: themselves, or by the catalogue in the caller's token."""
    return _in_catalog(caller) if setting == CATALOG else setting


def _in_catalog(caller: Caller) -> str | None:
    return caller.endpoint("key-manager", "internal") or caller.endpoint("key-manager", "public")


def _missing(identity: str) -> CertificateMissing:
    return CertificateMissing(f"there is no certificate {identity[:64]} that the service and the caller can read")
