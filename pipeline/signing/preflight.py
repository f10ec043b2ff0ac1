"""Check what signing needs: the rules of this room for ``./inv doctor``."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.host import doctor
from pipeline.host.doctor import PreflightResult
from pipeline.signing.keys import private_file
from pipeline.signing.keys.keyring import Keyring

_WARN_DAYS = 60


@doctor.rule("keys")
def keys(home: Home) -> Iterator[PreflightResult]:
    """Check that private keys can be read by their owner only."""
    if not home.keys.exists():
        yield doctor.good("none yet; the first one is made when something is signed")
        return
    private_file.require_private_folder(home.keys)
    keyring = Keyring(home)
    for name in keyring.names():
        for generation in keyring.record(name).generations:
            if not generation.uri.startswith("file:"):
                continue
            path = home.keys / name / generation.uri.removeprefix("file:")
            try:
                private_file.read(path, what=f"the key {name}:")
            except PipelineError as error:
                yield doctor.failure(error.message, error.hint or "make a new key")
            else:
                yield doctor.good(f"{name} {generation.number}: {generation.kind}, {generation.state}, mode 0600")


@doctor.rule("certificates")
def certificates(home: Home) -> Iterator[PreflightResult]:
    """Check that the certificates of the keys that sign stay valid for a while."""
    keyring = Keyring(home)
    for name in keyring.names():
        record = keyring.record(name)
        if not record.is_usable:
            continue
        generation = record.active
        certificate = keyring.certificates.get(generation.certificate)
        left = (certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)).days
        until = f"the certificate of {name} is valid until {certificate.not_valid_after_utc:%Y-%m-%d}"
        if left < 0:
            yield doctor.failure(f"{until}: it has expired", f"./inv keys.rotate {name}")
        elif left < _WARN_DAYS:
            yield doctor.warning(f"{until}: {left} days are left", f"./inv keys.rotate {name}")
        else:
            yield doctor.good(until)
