"""Fetching data from the web on a user's behalf, where the user must not be able to reach anything else by it.

Every URI, also each one a server redirects to, passes the filter, and the connection goes to the very address that was
checked. What is received counts, not what is announced: sizes, times and rates are bounded while it comes. A body that
ends early is a failure; where the server vouches that its file is still the same, the fetch goes on from there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit

from pipeline.imageservice.access.uri_filter import UriFilter
from pipeline.imageservice.data.control import Control
from pipeline.imageservice.errors import Invalid
from pipeline.imageservice.importing.options import DownloadOptions
from pipeline.imageservice.importing.web_request import Answer, Body, Requests, Rest, SourceBroken, SourceRefused

log = logging.getLogger("imageservice.import")

_MOVED = {301, 302, 303, 307, 308}


class WebSource:
    """The data at a URI, as a source for a transfer. ``close`` it in the end.

    ``rest``: only this part of it, if it is still what it was; ``begin`` says where the data begins then, 0 where the
    whole of it comes all the same. ``size`` is what the server announces of it, ``validator`` what names this state of
    it, where the server can send the rest of it later. ``headers`` go to the first host only. ``endpoint``: the URI is
    one the operator has named, so that the filter is for redirects only.

    Raises ``Invalid`` when the filter refuses the URI or a redirect, ``SourceRefused``, ``SourceBroken``.
    """

    def __init__(
        self,
        uri: str,
        uri_filter: UriFilter,
        options: DownloadOptions,
        control: Control,
        *,
        what: str = "web-download",
        headers: Mapping[str, str] | None = None,
        endpoint: bool = False,
        rest: Rest | None = None,
    ) -> None:
        self._uri, self._filter, self._options = uri, uri_filter, options
        self._headers, self._endpoint = dict(headers or {}), endpoint
        self._requests = Requests(options, control, what)
        self._failures = 0  # in a row, without a byte between them
        self._answer = self._get(rest)
        if rest is not None and self._answer.status == 206 and not self._answer.is_rest(rest):
            self.close()
            raise SourceBroken("The source sends another part of its data than was asked for")
        self.begin = rest.offset if rest is not None and self._answer.status == 206 else 0
        self.size = self._answer.length
        self.validator = rest.validator if rest is not None and self.begin else self._answer.validator
        self._received = 0
        self._begun = time.monotonic()

    @property
    def ended(self) -> bool:
        """Whether everything has come."""
        return self._answer.body is not None and self._answer.body.ended

    def readinto(self, view: memoryview, control: Control) -> int:
        """See ``Source.readinto``."""
        while True:
            self._requests.check_time()
            try:
                count = self._body.readinto(view, control)
            except SourceBroken as error:
                self._go_on(error, control)
                continue
            self._received += count
            self._failures = 0
            self._slow_down(control)
            return count

    def close(self) -> None:
        """Let go of the connection."""
        self._answer.connection.close()

    @property
    def _body(self) -> Body:
        assert self._answer.body is not None  # noqa: S101 - ``_get`` returns no other answers
        return self._answer.body

    def _go_on(self, error: SourceBroken, control: Control) -> None:
        """Connect again and ask for the rest. Raises ``error`` when that can't be had."""
        self.close()
        if self.validator is None:
            raise error
        rest = Rest(self.begin + self._received, self.validator)
        while self._failures < self._options.attempts - 1:
            self._failures += 1
            control.wait(min(30.0, 0.25 * 2**self._failures))
            try:
                answer = self._get(rest)
            except (SourceBroken, SourceRefused) as again:
                log.info("fetching goes on after a failure: %s", again.message)
                continue
            if not answer.is_rest(rest):
                answer.connection.close()
                raise SourceBroken("The source broke off, and has other data by now")
            self._answer = answer
            return
        raise error

    def _get(self, rest: Rest | None) -> Answer:
        """An answer with data, after as many redirects as are allowed."""
        uri, secure, what, headers = self._uri, False, self._requests.what, self._headers
        for hop in range(self._options.redirects + 1):
            trusted = self._endpoint and hop == 0
            checked = self._filter.check(uri, what=what, resolve=self._options.proxy is None, trusted=trusted)
            scheme = urlsplit(uri).scheme.lower()
            if secure and scheme != "https":
                raise Invalid(f"URI for {what} does not pass filtering: a redirect leads from https to {scheme}")
            secure = scheme == "https"
            answer = self._requests.ask(checked, headers, rest)
            if answer.status in (200, 206):
                return answer
            answer.connection.close()
            target = answer.headers.get("Location")
            if answer.status not in _MOVED or target is None:
                raise SourceRefused(f"The source answered with status {answer.status}")
            uri, headers = urljoin(uri, target), {}
        raise SourceRefused(f"The source redirects more than {self._options.redirects} times")

    def _slow_down(self, control: Control) -> None:
        if self._options.rate is None:
            return
        early = self._received / self._options.rate - (time.monotonic() - self._begun)
        if early > 0:
            control.wait(early)
