"""Deliver events to a log, a web hook or a message bus."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import urllib.parse
import warnings
from collections.abc import Mapping
from typing import Any, Protocol

import requests

from pipeline.base.errors import PipelineError
from pipeline.base.retry import RetryPolicy, retry_after
from pipeline.imageservice.notifications.options import BusTarget, LogTarget, WebhookTarget

log = logging.getLogger("imageservice.events")


class NotificationTarget(Protocol):
    """One receiver of events."""

    name: str

    def send(self, message: Mapping[str, Any]) -> None:
        """Deliver one event. Raises when it cannot."""


class Undelivered(PipelineError):
    """A receiver did not take an event. ``retry_after``: seconds for which it wants to be left alone."""

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def _retries(attempts: int) -> RetryPolicy:
    """One thread sends to all receivers, so that one of them cannot ask for long pauses."""
    return RetryPolicy(attempts=attempts, heed=10.0)


def _is_undelivered(error: Exception) -> bool:
    return isinstance(error, Undelivered)


class ToLog:
    """One JSON line each."""

    name = "the log"

    def send(self, message: Mapping[str, Any]) -> None:
        """See ``NotificationTarget``."""
        log.info("%s", json.dumps(message, ensure_ascii=False))


class ToWebhook:
    """One POST each, signed when there is a secret."""

    def __init__(self, options: WebhookTarget) -> None:
        self._options = options
        self._session = requests.Session()
        self.name = f"the web hook on {urllib.parse.urlsplit(options.url).hostname}"

    def send(self, message: Mapping[str, Any]) -> None:
        """See ``NotificationTarget``."""
        body = json.dumps(message, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json"}
        if self._options.secret is not None:
            key = self._options.secret.get_secret_value().encode()
            headers["X-Signature-SHA256"] = hmac.new(key, body, hashlib.sha256).hexdigest()
        _retries(self._options.attempts).call(lambda: self._post(body, headers), _is_undelivered)

    def _post(self, body: bytes, headers: Mapping[str, str]) -> None:
        try:
            answer = self._session.post(
                self._options.url, data=body, headers=headers, timeout=self._options.timeout, allow_redirects=False
            )
        except requests.RequestException as error:
            raise Undelivered(type(error).__name__) from None
        if answer.status_code >= 300:
            asked = retry_after(answer.headers.get("Retry-After"))
            raise Undelivered(f"it answered {answer.status_code}", retry_after=asked)


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
        """See ``NotificationTarget``."""
        notifier = self._notifier.prepare(publisher_id=self._options.publisher or message["publisher_id"])
        context = {"project_id": message["project_id"], "user_id": message["user_id"]}
        call = {"INFO": notifier.info, "WARN": notifier.warn, "ERROR": notifier.error}[message["priority"]]

        def deliver() -> None:
            _failures.last = None
            call(context, message["event_type"], dict(message["payload"]))
            if _failures.last is not None:
                raise Undelivered(f"it does not answer ({_failures.last})")

        _retries(self._options.attempts).call(deliver, _is_undelivered)


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


def make_target(options: LogTarget | WebhookTarget | BusTarget) -> NotificationTarget:
    """Return the receiver the settings describe."""
    if isinstance(options, WebhookTarget):
        return ToWebhook(options)
    return ToBus(options) if isinstance(options, BusTarget) else ToLog()
