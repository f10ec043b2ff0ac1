"""Say which properties of an image a cloud does not know, or defines otherwise, before anything is sent there.

What a cloud defines need not be what it enforces, so nothing is refused for it here.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.base.plain_text import one_line
from pipeline.image.definitions.judge import DefinedProperties
from pipeline.publishing.cloud.errors import CloudError
from pipeline.publishing.cloud.images import ImageApi

_SHOWN = 20
_LONGEST = 400


@dataclass(frozen=True)
class CloudDefinitions:
    """What clouds define, each read once; why it cannot be read is kept, too."""

    _read: dict[str, DefinedProperties | CloudError] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def remarks(self, api: ImageApi, properties: Mapping[str, str]) -> tuple[str, ...]:
        """Return what the cloud's definitions say of ``properties``, a sentence each."""
        known = self._of(api)
        if isinstance(known, CloudError):
            return (_plain(f"what the cloud defines of properties cannot be read: {known.message}"),)
        if not len(known):
            return ()
        found = known.judge(properties)
        remarks = [f"the cloud defines {one.name} otherwise: {one.message}" for one in found.wrong]
        if found.unknown:
            remarks.append(f"the cloud's definitions do not know {', '.join(found.unknown)}")
        return tuple(_plain(text) for text in remarks[:_SHOWN])

    def _of(self, api: ImageApi) -> DefinedProperties | CloudError:
        with self._lock:
            found = self._read.get(api.cloud)
        if found is None:
            try:
                found = api.definitions()
            except CloudError as error:
                found = error
            with self._lock:
                self._read[api.cloud] = found
        return found


def _plain(text: str) -> str:
    """Return the text without what a stranger's words could do to a terminal."""
    line = one_line(text)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
