"""Identify callers by OpenStack's identity service, through keystonemiddleware."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from oslo_config import cfg

from pipeline.base import json_text
from pipeline.base.errors import PipelineError
from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.access.options import KeystoneIdentity
from pipeline.imageservice.errors import NotAuthenticated, Unavailable

_GROUP = "keystone_authtoken"
_NOT_TOLD = (
    # At each start since 2016; a cache in memory is a choice, and no concern.
    "Using the in-process token cache is deprecated",
    # A client's mistake, which has its line in the access log already.
    "Authorization failed for token",
    "Invalid user token",
    "Invalid service token",
    "Rejecting request",
)


class KeystoneTokens:
    """Checks tokens with the identity service, once per request.

    keystonemiddleware is asked with a copy of the request's head, never its body: what it would have passed on is
    caught and read. So it neither wraps the service's answers nor stands in the way of a long upload.
    """

    def __init__(self, options: KeystoneIdentity) -> None:
        from keystonemiddleware import auth_token  # here: it takes a second, and only clouds need it

        conf, _, values = _configured(options)
        known = {name for _, group in auth_token.list_opts() for one in group for name in _names(one)}
        if unknown := sorted(values.keys() - known):
            raise PipelineError(f"identity: options: neither keystonemiddleware nor its login knows {unknown[0]!r}")
        values.setdefault("service_token_roles", ",".join(options.service_roles))
        values.setdefault("service_token_roles_required", "true")
        logging.getLogger("keystonemiddleware.auth_token").addFilter(_worth_telling)
        try:
            self._ask = auth_token.AuthProtocol(_catch, {**values, "oslo_config_config": conf})
        except Exception as error:
            raise PipelineError(f"identity: keystonemiddleware does not take these options: {error}") from None
        self.challenge = f'Keystone uri="{self._ask.www_authenticate_uri}"'

    def identify(self, environ: Mapping[str, Any]) -> Caller:
        """Return the caller whose token the request carries. Raises ``NotAuthenticated``, ``Unavailable``."""
        head = {name: value for name, value in environ.items() if isinstance(value, str)}
        head.pop("CONTENT_LENGTH", None)
        head.pop("HTTP_TRANSFER_ENCODING", None)
        question: dict[str, Any] = {**head, "wsgi.input": io.BytesIO(), "wsgi.errors": environ.get("wsgi.errors")}
        question |= {"wsgi.version": (1, 0), "wsgi.multithread": True, "wsgi.multiprocess": True}
        question |= {"wsgi.run_once": False, "wsgi.url_scheme": environ.get("wsgi.url_scheme", "http")}
        caught: list[Mapping[str, Any]] = []
        question["image_service.caught"] = caught
        status: list[str] = []

        def start_response(line: str, _headers: Any, _error: Any = None) -> Callable[[bytes], object]:
            status.append(line)
            return lambda _data: None

        b"".join(self._ask(question, start_response))
        if caught:
            return _caller(caught[0], environ.get("HTTP_X_AUTH_TOKEN"))
        if status and status[0].startswith("5"):
            raise Unavailable("The identity service does not answer now; try again.")
        raise NotAuthenticated("The request you have made requires authentication: no valid X-Auth-Token.")


def _catch(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    environ["image_service.caught"].append(environ)
    start_response("204 No Content", [])
    return []


def _caller(environ: Mapping[str, Any], token: str | None) -> Caller:
    def text(name: str) -> str | None:
        return environ.get(f"HTTP_X_{name}") or None

    def roles(name: str) -> frozenset[str]:
        return frozenset(role.strip().lower() for role in environ.get(f"HTTP_X_{name}", "").split(",") if role.strip())

    catalog = json_text.loads(environ.get("HTTP_X_SERVICE_CATALOG") or "[]")
    return Caller(
        project=text("PROJECT_ID"),
        user=text("USER_ID"),
        roles=roles("ROLES"),
        service_roles=roles("SERVICE_ROLES"),
        system_scope=environ.get("HTTP_OPENSTACK_SYSTEM_SCOPE") or None,
        domain=text("DOMAIN_ID"),
        user_domain=text("USER_DOMAIN_ID"),
        project_domain=text("PROJECT_DOMAIN_ID"),
        token=token,
        catalog=tuple(catalog),
    )


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value)


def _worth_telling(record: logging.LogRecord) -> bool:
    """Whether a line of keystonemiddleware tells an operator something."""
    text = record.getMessage()
    unknown_token = record.levelno == logging.INFO and text.startswith("Identity response")
    return not unknown_token and not text.startswith(_NOT_TOLD)


def _names(option: cfg.Opt) -> Iterator[str]:
    yield option.dest
    for old in option.deprecated_opts:
        yield old.name.replace("-", "_")


def service_session(options: KeystoneIdentity) -> Any:
    """Return a session with the identity service as the service's own user, from the same options that check tokens."""
    from keystoneauth1 import loading

    conf, group, left = _configured(options)
    loading.register_session_conf_options(conf, group)
    for name in left.keys() & set(conf[group]):
        conf.set_override(name, left[name], group=group)
    auth = loading.load_auth_from_conf_options(conf, _GROUP)
    return loading.load_session_from_conf_options(conf, group, auth=auth)


def _configured(options: KeystoneIdentity) -> tuple[cfg.ConfigOpts, str, dict[str, str]]:
    """Make a configuration with what logs the service's user in, its section, and what is left of the settings.

    These options belong to the plugin that logs in, so keystonemiddleware complains when it is given them itself.
    """
    from keystoneauth1 import loading

    conf = cfg.ConfigOpts()
    files = [str(options.config_file)] if options.config_file else []
    conf([], project="image-service", default_config_files=files, default_config_dirs=[])
    left = {name.replace("-", "_"): _as_text(value) for name, value in options.options.items()}
    if options.password_file:
        left["password"] = options.password_file.read_text().strip()
    loading.register_auth_conf_options(conf, _GROUP)
    conf.set_override("auth_section", left.pop("auth_section", conf[_GROUP].auth_section), group=_GROUP)
    group = conf[_GROUP].auth_section or _GROUP
    loading.register_auth_conf_options(conf, group)
    plugin = left.pop("auth_type", None) or conf[group].auth_type or "password"
    conf.set_override("auth_type", plugin, group=group)
    conf.register_opts(loading.get_auth_plugin_conf_options(plugin), group=group)
    for name in left.keys() & set(conf[group]):
        conf.set_override(name, left.pop(name), group=group)
    return conf, group, left
