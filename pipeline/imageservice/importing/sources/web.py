"""Fetch data from the web on a user's behalf, where the user must not be able to reach anything else by it.

Every URI, also each one a server redirects to, passes the filter, and the connection goes to the very address that was
checked (``imageservice.fetching``). What is received counts, not what is announced: sizes, times and rates are bounded
while it comes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from pipeline.base.retry import RetryPolicy
from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.fetching.answer import FilePart
from pipeline.imageservice.fetching.attempts import Attempts
from pipeline.imageservice.fetching.client import Client, ClientOptions
from pipeline.imageservice.fetching.download import HttpDownload
from pipeline.imageservice.fetching.errors import FetchRefused
from pipeline.imageservice.fetching.ssrf_filter import CheckedUri, SsrfFilter
from pipeline.imageservice.importing.options import DownloadOptions


def retry_policy(options: DownloadOptions) -> RetryPolicy:
    """Return how often a source is asked."""
    return RetryPolicy(attempts=options.attempts, first=options.pause_seconds)


class WebSource:
    """The data at a URI, as a source for a transfer. ``close`` it in the end.

    ``part``: only this part of it, if it is still what it was; ``begin`` says where the data begins then, 0 where the
    whole of it comes all the same. ``size`` is what the server announces of it, ``validator`` what names this state of
    it. ``secrets`` are headers for the first host only. ``endpoint``: the URI is one the operator has named, so that
    the filter is for redirects only.

    Raises ``Invalid`` when the filter refuses the URI or a redirect, ``FetchRefused``, ``FetchBroken``; ``StartAnew``
    in the middle means that all that came has to be thrown away.
    """

    def __init__(
        self,
        uri: str,
        ssrf_filter: SsrfFilter,
        options: DownloadOptions,
        attempts: Attempts,
        *,
        what: str = "web-download",
        secrets: Mapping[str, str] | None = None,
        endpoint: bool = False,
        part: FilePart | None = None,
    ) -> None:
        def check(uri: str, hop: int) -> CheckedUri:
            return ssrf_filter.check(uri, what=what, resolve=options.proxy is None, trusted=endpoint and hop == 0)

        self._rate = options.rate
        client = Client(_client_options(options), check, what)
        self._download = HttpDownload(client, uri, attempts, part=part, secrets=secrets)
        self.begin, self.size = self._download.begin, self._download.size
        self._received = 0
        self._begun = time.monotonic()
        if not self.begin and self.size == 0:
            self.close()
            raise _empty()

    @property
    def validator(self) -> str | None:
        """What names this state of the data, where its rest can be asked for."""
        return self._download.validator

    @property
    def ended(self) -> bool:
        """Whether everything has come."""
        return self._download.ended

    def readinto(self, view: memoryview, cancel_token: CancelToken) -> int:
        """See ``Source.readinto``."""
        count = self._download.readinto(view)
        self._received += count
        if not count and not self.begin and not self._received:
            raise _empty()
        self._slow_down(cancel_token)
        return count

    def close(self) -> None:
        """Let go of the connection."""
        self._download.close()

    def _slow_down(self, cancel_token: CancelToken) -> None:
        if self._rate is None:
            return
        early = self._received / self._rate - (time.monotonic() - self._begun)
        if early > 0:
            cancel_token.wait(early)


def _client_options(options: DownloadOptions) -> ClientOptions:
    return ClientOptions(
        connect_seconds=options.connect_seconds,
        idle_seconds=options.idle_seconds,
        redirects=options.redirects,
        user_agent=options.user_agent,
        ca_file=options.ca_file,
        proxy=options.proxy,
    )


def _empty() -> FetchRefused:
    return FetchRefused("The source sent an empty file (0 bytes)")
