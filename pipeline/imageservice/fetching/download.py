"""Fetch a file whole although servers break off: ask again, and go on where it is still the same.

Where the server vouches by a strong validator that its file has not changed, the rest is asked for. Where it does not,
nothing of what came may be used any more (``StartAnew``): bytes of two states of a file are never mixed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from pipeline.imageservice.fetching.answer import Answer, FilePart
from pipeline.imageservice.fetching.attempts import Attempts
from pipeline.imageservice.fetching.client import Client
from pipeline.imageservice.fetching.errors import FetchBroken, FetchRefused, StartAnew

log = logging.getLogger("imageservice.fetch")


class HttpDownload:
    """The bytes of the file at ``uri``. ``close`` it in the end.

    ``part``: only the rest of it, where the server sends that; ``begin`` says which byte comes first. ``size``: bytes
    that it announces from there on. ``validator``: what names this state of the file. ``secrets``: headers for the
    first server only. Raises what ``Client.ask`` raises, ``FetchRefused`` when that is no data.
    """

    def __init__(
        self,
        client: Client,
        uri: str,
        attempts: Attempts,
        *,
        part: FilePart | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        self._client, self._uri, self._attempts = client, uri, attempts
        self._secrets = dict(secrets or {})
        self._answer = self._opened(part)
        self.begin, self.size = self._answer.begin, self._answer.length
        self.total = self._answer.total
        if self.total is None and self.size is not None:
            self.total = self.begin + self.size
        self.validator = self._answer.validator
        self._received = 0

    @property
    def ended(self) -> bool:
        """Whether everything has come."""
        return self._answer.ended

    def readinto(self, view: memoryview) -> int:
        """Return some bytes; 0 at the end. Raises ``StartAnew`` when it broke off and the rest cannot be had, and as
        above.
        """
        while True:
            self._attempts.check()
            try:
                count = self._answer.readinto(view)
            except FetchBroken as error:
                self._go_on(error)
                continue
            self._received += count
            if count and self.validator is not None:
                self._attempts.progressed()
            return count

    def close(self) -> None:
        """Let go of the connection."""
        self._answer.close()

    def _opened(self, part: FilePart | None) -> Answer:
        """Return an answer with data. Each attempt starts at the first address: redirects may have changed."""
        while True:
            try:
                answer = self._asked(part)
            except FetchBroken as error:
                self._attempts.failed(error)
                continue
            except FetchRefused as refused:
                if refused.status != 416 or part is None or part.validator is None:
                    raise
                part = None  # the file is shorter by now
                continue
            if answer.status != 206 or (part is not None and answer.is_rest(part)):
                return answer
            answer.close()
            if part is None:
                raise FetchRefused("The source sends a part of its data although the whole was asked for")
            part = None  # another part than was asked for, or of another file

    def _asked(self, part: FilePart | None) -> Answer:
        headers = part.headers if part is not None else {}
        answer = self._client.ask(self._uri, self._attempts.check, headers=headers, secrets=self._secrets)
        try:
            answer.require_data()
        except BaseException:
            answer.close()
            raise
        return answer

    def _go_on(self, error: FetchBroken) -> None:
        """Ask for the rest. Raises ``StartAnew`` when there is only the whole, and the last failure when none comes."""
        self.close()
        if self.validator is None:
            raise StartAnew(error.message, retry_after=error.retry_after)
        part = FilePart(self.begin + self._received, self.validator, self.total)
        while True:
            self._attempts.failed(error)
            try:
                answer = self._asked(part)
            except FetchBroken as again:
                error = again
                continue
            except FetchRefused as refused:
                if refused.status == 416:
                    raise StartAnew("The source broke off, and has other data by now", counted=True) from None
                # It had the file a moment ago: perhaps a redirect led elsewhere.
                error = FetchBroken(refused.message)
                continue
            if not answer.is_rest(part):
                answer.close()
                raise StartAnew("The source broke off, and sends no rest of the same data", counted=True)
            self._answer = answer
            return
