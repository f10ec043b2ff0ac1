"""One request to a cloud's image endpoint, through openstacksdk's session, and what its answer means.

The session of openstacksdk knows the cloud: endpoint, identity, TLS, token renewal. Its higher-level image calls are
not used, because they hide what a transaction must know: whether a request that failed took effect.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

import requests
from keystoneauth1 import exceptions as identity

from pipeline.host import unreachable
from pipeline.publishing.cloud_errors import CloudError, Conflict, NotAllowed, NotThere, Refused, Unreachable
from pipeline.publishing.patience import Pace, Patience

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
    text: str

    def json(self) -> Any:
        """The body as JSON."""

    def iter_content(self, chunk_size: int) -> Iterator[bytes]:
        """The body in blocks."""

    def close(self) -> None:
        """Give the connection back."""


class Adapter(Protocol):
    """What is used of openstacksdk's image proxy."""

    def request(self, url: str, method: str, **options: Any) -> Any:
        """Send a request to the endpoint's ``url``."""

    def get_endpoint(self) -> str | None:
        """The endpoint's own URL."""


class Deferred:
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
        """The endpoint's own URL."""
        return self._adapter.get_endpoint()


class Http:
    """Requests to one cloud, called ``cloud`` in messages."""

    def __init__(
        self,
        adapter: Adapter,
        cloud: str,
        patience: Patience,
        guard: Callable[[], None] = lambda: None,
        pace: Pace | None = None,
    ) -> None:
        self._adapter = adapter
        self.cloud = cloud
        self.patience = patience
        self._guard = guard
        self._pace = pace or Pace(patience)

    @property
    def url(self) -> str:
        """The endpoint's URL. Raises ``CloudError`` when the cloud has none."""
        with self._translated("find the image service"):
            found = self._adapter.get_endpoint()
        if not found:
            raise CloudError(f"cloud {self.cloud} has no image service")
        return found

    def reached(self) -> Http:
        """This, once the cloud has told where its image service is. Raises ``CloudError`` when it does not."""
        for attempt in self.tries():
            try:
                _ = self.url
            except Unreachable:
                if attempt == self.patience.attempts:
                    raise
            else:
                break
        return self

    def guarded(self, guard: Callable[[], None]) -> Http:
        """The same, with ``guard`` asked before each request that changes anything; it raises to prevent that."""
        return Http(self._adapter, self.cloud, self.patience, guard, self._pace)

    def tries(self) -> Iterator[int]:
        """Count attempts from 1, pausing before each as long as patience, or the cloud, asks."""
        return self._pace.tries()

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

        ``what`` says for people what is being done ("patch image 1234"). Raises ``Unreachable`` when it is unknown
        whether the request took effect, ``Refused`` or one of its kinds on a clear no.
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

    def patiently(self, method: str, path: str, what: str, *, json: Any = None) -> Response:
        """Like ``once``, trying again while the cloud is in trouble; only for requests that may be repeated."""
        for attempt in self.tries():
            try:
                return self.once(method, path, what, json=json)
            except Unreachable:
                if attempt == self.patience.attempts:
                    raise
        raise AssertionError("patience has at least one attempt")

    @contextlib.contextmanager
    def blocks(self, path: str, what: str) -> Iterator[Iterator[bytes]]:
        """The body of a GET, in blocks of 1 MiB; memory stays constant."""
        response = self.once("GET", path, what, stream=True)
        try:
            yield self._translated_blocks(response, what)
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
            why = unreachable.reason(error, timeout, timeout)
            raise Unreachable(f"cloud {self.cloud} does not answer ({what}): {why}") from None
        except (requests.RequestException, ConnectionError, TimeoutError) as error:
            why = unreachable.reason(error, timeout, timeout)
            raise Unreachable(f"the connection to cloud {self.cloud} failed ({what}): {why}") from None
        except identity.SSLError as error:
            raise CloudError(
                f"cloud {self.cloud} cannot be spoken to safely: {unreachable.reason(error, timeout, timeout)}",
                hint="set cacert in clouds.yaml to the authority that signed it",
            ) from None
        except identity.HttpError as error:
            raise self._identity_problem(error) from None
        except identity.ClientException as error:
            raise CloudError(
                f"cloud {self.cloud} cannot be used: {_short(str(error))}", hint="check its entry in clouds.yaml"
            ) from None

    def _trouble(self, text: str, headers: Mapping[str, str]) -> Unreachable:
        self._pace.asked_for(_retry_after(headers.get("Retry-After", "")))
        return Unreachable(text)

    def _identity_problem(self, error: identity.HttpError) -> CloudError:
        """An answer of the identity service, while a token was asked for."""
        text = f"the identity service of cloud {self.cloud} answered: {_short(str(error))}"
        if (error.http_status or 500) in _TROUBLE:
            return self._trouble(text, getattr(error.response, "headers", {}))
        return NotAllowed(text, status=error.http_status or 401, hint="check the credentials in clouds.yaml")

    def _problem(self, response: Response, what: str) -> CloudError:
        status = response.status_code
        said = f"cloud {self.cloud} answered {status} ({what}): {_said(response)}"
        if status in _TROUBLE:
            return self._trouble(said, response.headers)
        if status == 401:
            return NotAllowed(said, status=status, hint="the token or password in clouds.yaml is not valid (any more)")
        if status == 403:
            return NotAllowed(said, status=status)
        kind = {404: NotThere, 409: Conflict}.get(status, Refused)
        return kind(said, status=status)


def _retry_after(text: str) -> float:
    """The seconds that a ``Retry-After`` header (RFC 9110, 10.2.3) asks for: a number or a date; 0 if it is neither."""
    if re.fullmatch(r"[0-9]{1,9}", text.strip()):
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _said(response: Response) -> str:
    """The reason in an error's body, which may be JSON, HTML or plain text."""
    with contextlib.suppress(ValueError, requests.RequestException):
        body = response.json()
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
