"""Send the night's summary as a mail and to a webhook."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator, Mapping
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from pathlib import Path
from typing import Any

import requests

from pipeline.base.errors import PipelineError
from pipeline.base.retry import TRANSIENT, RetryPolicy
from pipeline.base.urls import without_secrets
from pipeline.host.network import error_text
from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.report import markdown
from pipeline.recipes.nightly import Email, Report, Webhook

_WEBHOOK_HINT = "check report.webhook in recipes/nightly.yaml"
_TIMEOUT = 30


def is_due(report: Report, night: Mapping[str, Any]) -> bool:
    """Return whether anybody wants to hear of this night."""
    if report.when == "always" or not night["good"]:
        return True
    return report.when == "changed" and bool(night["changed"])


def send(report: Report, night: Mapping[str, Any], page: str) -> Iterator[PipelineError]:
    """Tell everybody ``report`` names; yield what went wrong. The page goes along with the mail."""
    if not is_due(report, night):
        return
    try:
        if report.email:
            _mail(report.email, night, page)
    except PipelineError as error:
        yield error
    try:
        if report.webhook:
            _post(report.webhook, night)
    except PipelineError as error:
        yield error


def _mail(email: Email, night: Mapping[str, Any], page: str) -> None:
    message = EmailMessage()
    message["Subject"] = f"Nightly images: {night['verdict']}"
    message["From"] = email.sender
    message["To"] = ", ".join(email.to)
    began = ownership_marker.parse_time(night["began"])
    if began:
        message["Date"] = format_datetime(began)
    message["Message-ID"] = make_msgid(domain=email.sender.rpartition("@")[2])
    message.set_content(markdown.text(night))
    message.add_attachment(page, subtype="html", filename=f"nightly-{night['run']}.html")
    where = f"the mail server {email.host}:{email.port}"
    try:
        with _server(email) as server:
            if email.user:
                server.login(email.user, secret(email.password_file, "report.email.password_file"))
            server.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        raise PipelineError(
            f"the report could not be mailed: {where}: {' '.join(str(error).split())[:200]}",
            hint="check report.email in recipes/nightly.yaml",
        ) from None


def _server(email: Email) -> smtplib.SMTP:
    if email.tls == "tls":
        return smtplib.SMTP_SSL(email.host, email.port, timeout=_TIMEOUT, context=ssl.create_default_context())
    server = smtplib.SMTP(email.host, email.port, timeout=_TIMEOUT)
    if email.tls == "starttls":
        server.starttls(context=ssl.create_default_context())
    return server


def _post(webhook: Webhook, night: Mapping[str, Any]) -> None:
    headers = {}
    if webhook.token_file:
        headers["Authorization"] = f"Bearer {secret(webhook.token_file, 'report.webhook.token_file')}"
    summary = {
        "text": markdown.text(night),
        "run": night["run"],
        "verdict": night["verdict"],
        "good": night["good"],
        "publications": [
            {"recipe": recipe["name"], "cloud": cloud["cloud"], "outcome": cloud["outcome"]}
            for recipe in night["recipes"]
            for cloud in recipe["clouds"]
        ],
    }
    location = without_secrets(webhook.url)

    def post() -> requests.Response:
        answer = requests.post(webhook.url, json=summary, headers=headers, timeout=_TIMEOUT, allow_redirects=False)
        if answer.status_code in TRANSIENT:
            answer.raise_for_status()
        return answer

    try:
        answer = RetryPolicy(attempts=3, first=1.0, heed=60.0).call(post, error_text.may_pass)
    except requests.RequestException as error:
        if error.response is not None:
            raise PipelineError(
                f"the webhook {location} answered {error.response.status_code}", hint=_WEBHOOK_HINT
            ) from None
        raise PipelineError(
            f"the webhook {location} does not answer: {type(error).__name__}", hint=_WEBHOOK_HINT
        ) from None
    if answer.status_code >= 300:
        raise PipelineError(f"the webhook {location} answered {answer.status_code}", hint=_WEBHOOK_HINT)


def secret(file: str | None, setting: str) -> str:
    """Return the secret in ``file``, which nobody but its owner may read."""
    if not file:
        raise PipelineError(f"{setting} is not set", hint="secrets are read from files only")
    path = Path(file).expanduser()
    try:
        if path.stat().st_mode & 0o077:
            raise PipelineError(f"{setting}: {path} can be read by others", hint=f"chmod 600 {path}")
        return path.read_text().strip()
    except OSError as error:
        raise PipelineError(
            f"{setting}: {path} cannot be read: {error.strerror}",
            hint=f"put it there (mode 0600), or correct {setting}",
        ) from None
