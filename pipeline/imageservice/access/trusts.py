"""Act for a user later, when the request is long over, without keeping the user's token.

The user's token gives the service's own user a trust (Keystone's OS-TRUST): the leave to act in the user's project,
with the user's roles, for a while. Its id is worth nothing to anybody else.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from keystoneauth1 import exceptions, plugin, token_endpoint
from keystoneauth1 import session as sessions

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.access.keystone import service_session
from pipeline.imageservice.access.options import KeystoneIdentity
from pipeline.imageservice.errors import ServiceError, Unavailable

log = logging.getLogger("imageservice.access")

_BELOW = {"service_type": "identity"}  # paths are those of the identity service


class TrustEnded(ServiceError):
    """The user's trust has ended, or the user has taken it back."""


def create(options: KeystoneIdentity, caller: Caller, seconds: float) -> str | None:
    """Have the caller's token give the service a trust for ``seconds``; its id.

    ``None`` where this token may not do that (an application credential's, or one that comes of a trust itself), or the
    identity service has no trusts. Raises ``Unavailable``.
    """
    try:
        service = service_session(options)
        user = _as_caller(service, caller)
        own = {"X-Subject-Token": caller.token}
        shown = user.get("/auth/tokens", headers=own, endpoint_filter=_BELOW).json()["token"]
        ends = datetime.now(UTC) + timedelta(seconds=seconds)
        trust = {
            "trustor_user_id": caller.user,
            "trustee_user_id": service.get_user_id(),
            "project_id": caller.project,
            "impersonation": True,
            "roles": [{"id": role["id"]} for role in shown["roles"]],
            "expires_at": ends.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        made = user.post("/OS-TRUST/trusts", json={"trust": trust}, endpoint_filter=_BELOW).json()
    except exceptions.ConnectFailure as error:
        raise Unavailable("The identity service does not answer now; try again.") from error
    except exceptions.ClientException as error:
        log.info("no trust of user %s: %s", caller.user, error)
        return None
    return str(made["trust"]["id"])


def token(options: KeystoneIdentity, trust: str) -> str:
    """Return a token for the user's project. Raises ``TrustEnded``, ``Unavailable``."""
    try:
        return str(service_session(_by(options, trust)).get_token())
    except (exceptions.Unauthorized, exceptions.Forbidden, exceptions.NotFound) as error:
        raise TrustEnded("The leave to act for the user who asked has ended, or was taken back") from error
    except exceptions.ClientException as error:
        raise Unavailable("The identity service does not answer now; try again.") from error


def delete(options: KeystoneIdentity, trust: str) -> None:
    """Give a trust back. One that cannot be given back ends by itself."""
    try:
        session = service_session(_by(options, trust))
        session.delete(f"{_identity(session)}/OS-TRUST/trusts/{trust}")
    except exceptions.ClientException as error:
        log.info("trust %s is left to end by itself: %s", trust, error)


def _by(options: KeystoneIdentity, trust: str) -> KeystoneIdentity:
    """Return the service's user, but acting by a trust, which is what its token is for then instead of a project."""
    without = dict.fromkeys(("project_id", "project_name", "project_domain_id", "project_domain_name"), "")
    return options.model_copy(update={"options": {**options.options, **without, "trust_id": trust}})


def _identity(session: Any) -> str:
    """Return the URL that the session asks for tokens, with its version."""
    url = str(session.get_endpoint(interface=plugin.AUTH_INTERFACE)).rstrip("/")
    return url if url.endswith("/v3") else f"{url}/v3"


def _as_caller(service: Any, caller: Caller) -> Any:
    """Return a session like the service's, but with the caller's token, for paths below the identity service's URL."""
    auth = token_endpoint.Token(_identity(service), caller.token)
    return sessions.Session(auth, verify=service.verify, cert=service.cert, timeout=service.timeout)
