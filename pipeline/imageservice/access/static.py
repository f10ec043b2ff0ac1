"""Identify callers without an identity service: by fixed tokens, or not at all."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.base import atomic
from pipeline.base.errors import PipelineError
from pipeline.imageservice.access.caller import Caller, with_implied
from pipeline.imageservice.access.options import NoIdentity, StaticIdentity, StaticToken
from pipeline.imageservice.errors import NotAuthenticated


class StaticTokens:
    """Tokens from the settings. They are kept and looked up by digest, so that comparing takes no telling time."""

    challenge = 'Token realm="image service"'

    def __init__(self, options: StaticIdentity, folder: Path) -> None:
        tokens = options.tokens or [StaticToken(token_file=folder / "token")]
        self._callers: dict[bytes, Caller] = {}
        for one in tokens:
            text = one.token.get_secret_value() if one.token else read_or_make(folder / one.token_file)  # type: ignore[operator]
            caller = Caller(project=one.project, user=one.user, roles=with_implied(one.roles), token=text)
            if self._callers.setdefault(_digest(text), caller) is not caller:
                raise PipelineError(f"identity.tokens: {one.name} has the same token as another one")

    def identify(self, environ: Mapping[str, Any]) -> Caller:
        """Return the caller whose token the request carries. Raises ``NotAuthenticated``."""
        caller = self._callers.get(_digest(environ.get("HTTP_X_AUTH_TOKEN", "")))
        if caller is None:
            raise NotAuthenticated("This server could not verify that you are authorized: no valid X-Auth-Token.")
        service = environ.get("HTTP_X_SERVICE_TOKEN")
        if service is None:
            return caller
        helper = self._callers.get(_digest(service))
        if helper is None:
            raise NotAuthenticated("The X-Service-Token is not valid.")
        return Caller(
            project=caller.project,
            user=caller.user,
            roles=caller.roles,
            service_roles=helper.roles,
            token=caller.token,
        )


class NoTokens:
    """Everybody is the same caller."""

    challenge = ""

    def __init__(self, options: NoIdentity) -> None:
        self._caller = Caller(project=options.project, user=options.user, roles=with_implied(options.roles))

    def identify(self, environ: Mapping[str, Any]) -> Caller:
        """Return the caller."""
        return self._caller


def read_or_make(file: Path) -> str:
    """Return the token in ``file``; a missing file is made, with a random token, for its owner only."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        _make(file)
    mode = file.stat().st_mode
    if mode & 0o077:
        raise PipelineError(f"{file} can be read by others (mode {mode & 0o777:04o})", hint=f"chmod 600 {file}")
    text = file.read_text().strip()
    if len(text) < 8:
        raise PipelineError(f"{file} holds no token (it needs 8 characters or more)", hint=f"rm {file}")
    return text


def _make(file: Path) -> None:
    """Two processes that start at once get the same token: the first file stays."""
    with atomic.new_file(file.with_name(f".{file.name}.{os.getpid()}"), mode=0o600) as temporary:
        temporary.write_text(secrets.token_urlsafe(32) + "\n")
    made = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        os.link(made, file)
    except FileExistsError:
        pass
    finally:
        made.unlink()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
