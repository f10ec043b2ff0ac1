"""Make one request to a cloud's image endpoint, through openstacksdk's session, and say what its answer means.

The session of openstacksdk knows the cloud: endpoint, identity, TLS, token renewal. Its higher-level image calls are
not used, because they hide what a transaction must know: whether a request that failed took effect.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import requests
from keystoneauth1 import exceptions as identity

from pipeline.base import json_text
from pipeline.base.retry import retry_after
from pipeline.host.network import error_text
from pipeline.publishing.cloud.errors import (
    CloudConflict,
    CloudError,
    CloudForbidden,
    CloudNotFound,
    CloudUnreachable,
    RequestRefused,
)
from pipeline.publishing.cloud.retry import CloudRetryPolicy, RateLimit

ANSWER_HINT = "a proxy or a login page may answer for it: check the image service's address in the cloud's catalog"
BLOCK = 1 << 20
_TIMEOUT = 60.0
# After the last byte a store may still have to assemble and verify the image.
UPLOAD_TIMEOUT = 1800.0
# The session's own repetitions would hide what a request did, and wait for as long as any cloud asks.
_UNREPEATED = {"connect_retries": 0, "status_code_retries": 0}
_TROUBLE = frozenset({408, 429, 500, 502, 503, 504})


class Response(Protocol):
    """What is used of an answer (``requests.Response``)."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes
    text: str

    def iter_content(self, chunk_size: int) -> Iterator[bytes]:
        """Return the body in blocks."""

    def close(self) -> None:
        """Give the connection back."""


class Adapter(Protocol):
    """What is used of openstacksdk's image proxy."""

    def request(self, url: str, method: str, **options: Any) -> Any:
        """Send a request to the endpoint's ``url``."""

    def get_endpoint(self) -> str | None:
        """Return the endpoint's own URL."""

    def get_project_id(self) -> str | None:
        """Return the project that the token is for, where it tells."""


class LazyAdapter:
    """An adapter that the cloud itself has to be asked for (a token, its catalog): when it is first needed."""

    def __init__(self, ask: Callable[[], Adapter]) -> None:
        self._ask = ask

    @functools.cached_property
    def _adapter(self) -> Adapter:
        return self._ask()

    def request(self, url: str, method: str, **options: Any) -> Any:
        """Send a request to the endpoint's ``url``."""
        return self._adapter.request(url, method, **options)

    def get_endpoint(self) -> str | None:
        """Return the endpoint's own URL."""
        return self._adapter.get_endpoint()

    def get_project_id(self) -> str | None:
        """Return the project that the token is for, where it tells."""
        return self._adapter.get_project_id()


class Http:
    """Requests to one cloud, called ``cloud`` in messages."""

    def __init__(
        self,
        adapter: Adapter,
        cloud: str,
        retry_policy: CloudRetryPolicy,
        guard: Callable[[], None] = lambda: None,
        rate_limit: RateLimit | None = None,
    ) -> None:
        self._adapter = adapter
        self.cloud = cloud
        self.retry_policy = retry_policy
        self._guard = guard
        self._rate_limit = rate_limit or RateLimit(retry_policy)

    @property
    def url(self) -> str:
        """The endpoint's URL. Raises ``CloudError`` when the cloud has none."""
        with self._translated("find the image service"):
            found = self._adapter.get_endpoint()
        if not found:
            raise CloudError(
                f"cloud {self.cloud} has no image service in its catalog for this region and interface",
                hint="compare openstack catalog list with region_name and interface in clouds.yaml",
            )
        return found

    def document(self, response: Response) -> Any:
        """Return the JSON document of an answer. Raises ``CloudError`` for an answer that is none."""
        try:
            return json_text.loads(response.content)
        except (ValueError, requests.RequestException):
            raise CloudError(
                f"cloud {self.cloud} answered with something that is no JSON document", hint=ANSWER_HINT
            ) from None

    @property
    def project(self) -> str | None:
        """The project that the token is for; ``None`` where it does not tell."""
        with self._translated("find out the project of the token"):
            return self._adapter.get_project_id()

    def reached(self) -> Http:
        """Return this client, once the cloud has told where its image service is. Raises ``CloudError`` when it does
        not.
        """
        for attempt in self.tries():
            try:
                _ = self.url, self.project
            except CloudUnreachable:
                if attempt == self.retry_policy.attempts:
                    raise
            else:
                break
        return self

    def guarded(self, guard: Callable[[], None]) -> Http:
        """Return the same, with ``guard`` asked, too, before each request that changes anything; it may raise."""

        def both() -> None:
            guard()
            self._guard()

        return Http(self._adapter, self.cloud, self.retry_policy, both, self._rate_limit)

    def tries(self) -> Iterator[int]:
        """Count attempts from 1, pausing before each as long as the retry policy, or the cloud, asks."""
        return self._rate_limit.tries()

    def once(
        self,
        method: str,
        path: str,
        what: str,
        *,
        json: Any = None,
        data: Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
        timeout: float = _TIMEOUT,
    ) -> Response:
        """Send one request; return its answer if that is a success.

        ``what`` says for people what is being done ("patch image 1234"). Raises ``CloudUnreachable`` when it is unknown
        whether the request took effect, ``RequestRefused`` or one of its kinds on a clear no.
        """
        if method != "GET":
            self._guard()
        options: dict[str, Any] = {
            "headers": dict(headers or {}),
            "timeout": timeout,
            "raise_exc": False,
            **_UNREPEATED,
        }
        if json is not None:
            options["json"] = json
        if data is not None:
            options["data"] = data
        if stream:
            options["stream"] = True
        with self._translated(what, timeout):
            response: Response = self._adapter.request(path, method, skip_cache=True, **options)
        if response.status_code >= 300:
            try:
                raise self._problem(response, what)
            finally:
                response.close()
        return response

    def with_retries(self, method: str, path: str, what: str, *, json: Any = None) -> Response:
        """Like ``once``, trying again while the cloud is in trouble; only for requests that may be repeated."""
        for attempt in self.tries():
            try:
                return self.once(method, path, what, json=json)
            except CloudUnreachable:
                if attempt == self.retry_policy.attempts:
                    raise
        raise AssertionError("a retry policy has at least one attempt")

    @contextlib.contextmanager
    def blocks(self, path: str, what: str) -> Iterator[tuple[Mapping[str, str], Iterator[bytes]]]:
        """Open a GET: the answer's headers, and its body in blocks of 1 MiB; memory stays constant."""
        response = self.once("GET", path, what, stream=True)
        try:
            yield response.headers, self._translated_blocks(response, what)
        finally:
            response.close()

    def _translated_blocks(self, response: Response, what: str) -> Iterator[bytes]:
        with self._translated(what):
            yield from response.iter_content(BLOCK)

    @contextlib.contextmanager
    def _translated(self, what: str, timeout: float = _TIMEOUT) -> Iterator[None]:
        try:
            yield
        except (identity.RetriableConnectionFailure, identity.UnknownConnectionError) as error:
            why = error_text.reason(error, timeout, timeout)
            raise CloudUnreachable(f"cloud {self.cloud} does not answer ({what}): {why}") from None
        except (requests.RequestException, ConnectionError, TimeoutError) as error:
            why = error_text.reason(error, timeout, timeout)
            raise CloudUnreachable(f"the connection to cloud {self.cloud} failed ({what}): {why}") from None
        except identity.SSLError as error:
            raise CloudError(
                f"cloud {self.cloud} cannot be spoken to safely: {error_text.reason(error, timeout, timeout)}",
                hint="set cacert in clouds.yaml to the authority that signed it",
            ) from None
        except identity.HttpError as error:
            raise self._identity_problem(error) from None
        except identity.ClientException as error:
            raise CloudError(
                f"cloud {self.cloud} cannot be used: {_short(str(error))}", hint="check its entry in clouds.yaml"
            ) from None

    def _trouble(self, text: str, headers: Mapping[str, str]) -> CloudUnreachable:
        self._rate_limit.asked_for(retry_after(headers.get("Retry-After")))
        return CloudUnreachable(text)

    def _identity_problem(self, error: identity.HttpError) -> CloudError:
        """Return an answer of the identity service, while a token was asked for."""
        text = f"the identity service of cloud {self.cloud} answered: {_short(str(error))}"
        if (error.http_status or 500) in _TROUBLE:
            return self._trouble(text, getattr(error.response, "headers", {}))
        return CloudForbidden(text, status=error.http_status or 401, hint="check the credentials in clouds.yaml")

    def _problem(self, response: Response, what: str) -> CloudError:
        status = response.status_code
        text = f"cloud {self.cloud} answered {status} ({what}): {_message_of(response)}"
        if status in _TROUBLE:
            return self._trouble(text, response.headers)
        if status == 401:
            return CloudForbidden(
                text, status=status, hint="the token or password in clouds.yaml is not valid (any more)"
            )
        if status == 403:
            return CloudForbidden(text, status=status)
        kind = {404: CloudNotFound, 409: CloudConflict}.get(status, RequestRefused)
        return kind(text, status=status)


def _message_of(response: Response) -> str:
    """Return the reason in an error's body, which may be JSON, HTML or plain text."""
    with contextlib.suppress(ValueError, requests.RequestException):
        body = json_text.loads(response.content)
        if isinstance(body, dict):
            for part in (body, *body.values()):
                if isinstance(part, dict) and isinstance(part.get("message"), str):
                    return _short(part["message"])
    with contextlib.suppress(requests.RequestException):
        return _short(re.sub(r"<title>.*?</title>|<[^>]*>", " ", response.text, flags=re.DOTALL))
    return "nothing readable"


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 300 else f"{words[:297]}…"
