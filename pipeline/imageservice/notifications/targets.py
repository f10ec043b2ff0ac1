"""Where events go."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import time
import urllib.parse
import warnings
from collections.abc import Mapping
from typing import Any, Protocol

import requests

from pipeline.base.errors import PipelineError
from pipeline.imageservice.notifications.options import BusTarget, LogTarget, WebhookTarget

log = logging.getLogger("imageservice.events")


class Target(Protocol):
    """One receiver of events."""

    name: str

    def send(self, message: Mapping[str, Any]) -> None:
        """Deliver one event. Raises when it cannot."""


class ToLog:
    """One JSON line each."""

    name = "the log"

    def send(self, message: Mapping[str, Any]) -> None:
        """See ``Target``."""
        log.info("%s", json.dumps(message, ensure_ascii=False))


class ToWebhook:
    """One POST each, signed when there is a secret."""

    def __init__(self, options: WebhookTarget) -> None:
        self._options = options
        self._session = requests.Session()
        self.name = f"the web hook on {urllib.parse.urlsplit(options.url).hostname}"

    def send(self, message: Mapping[str, Any]) -> None:
        """See ``Target``."""
        body = json.dumps(message, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json"}
        if self._options.secret is not None:
            key = self._options.secret.get_secret_value().encode()
            headers["X-Signature-SHA256"] = hmac.new(key, body, hashlib.sha256).hexdigest()
        for attempt in range(1, self._options.attempts + 1):
            problem = self._post(body, headers)
            if problem is None:
                return
            if attempt < self._options.attempts:
                time.sleep(0.25 * 2**attempt)
        raise PipelineError(problem or "no attempt was made")

    def _post(self, body: bytes, headers: Mapping[str, str]) -> str | None:
        try:
            answer = self._session.post(
                self._options.url, data=body, headers=headers, timeout=self._options.timeout, allow_redirects=False
            )
        except requests.RequestException as error:
            return type(error).__name__
        return None if answer.status_code < 300 else f"it answered {answer.status_code}"


class ToBus:
    """oslo.messaging's notification format, on the topics other services of a cloud listen to."""

    name = "the message bus"

    def __init__(self, options: BusTarget) -> None:
        oslo_messaging = _library()
        from oslo_config import cfg

        conf = cfg.ConfigOpts()
        files = [str(options.config_file)] if options.config_file else []
        conf([], project="image-service", default_config_files=files, default_config_dirs=[])
        url = options.transport_url.get_secret_value() if options.transport_url else None
        try:
            transport = oslo_messaging.get_notification_transport(conf, url=url)
        except Exception as error:
            # Its text may hold the URL, and that a password.
            raise PipelineError(
                f"notifications: oslo.messaging cannot use this transport_url ({type(error).__name__})",
                hint="write it as rabbit://user:password@host:5672/",
            ) from None
        self._options = options
        self._notifier = oslo_messaging.Notifier(transport, driver="messagingv2", topics=options.topics)
        logging.getLogger("oslo_messaging.notify.messaging").addFilter(_failures)

    def send(self, message: Mapping[str, Any]) -> None:
        """See ``Target``."""
        notifier = self._notifier.prepare(publisher_id=self._options.publisher or message["publisher_id"])
        context = {"project_id": message["project_id"], "user_id": message["user_id"]}
        call = {"INFO": notifier.info, "WARN": notifier.warn, "ERROR": notifier.error}[message["priority"]]
        for attempt in range(1, self._options.attempts + 1):
            _failures.last = None
            call(context, message["event_type"], dict(message["payload"]))
            if _failures.last is None:
                return
            if attempt < self._options.attempts:
                time.sleep(0.25 * 2**attempt)
        raise PipelineError(f"it does not answer ({_failures.last})")


class _Failures(logging.Filter):
    """oslo.messaging does not raise, it logs: a traceback, and the whole event. Keeps the reason and logs nothing."""

    last: str | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """See ``logging.Filter``."""
        error = record.exc_info[1] if record.exc_info else None
        self.last = type(error).__name__
        return False


_failures = _Failures()  # one for all targets: a second one would not be asked, and only one thread sends


def _library() -> Any:
    # It brings a machinery for servers that complains of itself when it is loaded; nothing here uses that.
    logging.getLogger("oslo_service").setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            import oslo_messaging
    except ImportError:
        raise PipelineError(
            "notifications over the message bus need oslo.messaging",
            hint="install the extra `messaging`: pip install 'oslo.messaging>=14.9'",
        ) from None
    return oslo_messaging


def make_target(options: LogTarget | WebhookTarget | BusTarget) -> Target:
    """The receiver the settings describe."""
    if isinstance(options, WebhookTarget):
        return ToWebhook(options)
    return ToBus(options) if isinstance(options, BusTarget) else ToLog()
