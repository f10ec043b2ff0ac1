"""Tell zeros from data, for back ends in which zeros take no room."""

from __future__ import annotations

from collections.abc import Iterator

_GRAIN = 64 << 10  # holes are kept in multiples of this
_ZERO_GRAIN = bytes(_GRAIN)


def runs(data: memoryview) -> Iterator[tuple[int, int]]:
    """Yield the parts of ``data`` that aren't zeros, as (start, end), in whole grains."""
    begin = None
    for start in range(0, len(data), _GRAIN):
        grain = data[start : start + _GRAIN]
        # Looking at two bytes spares the copy for nearly everything that isn't zeros.
        if not grain[0] and not grain[-1] and grain.tobytes() == _ZERO_GRAIN[: len(grain)]:
            if begin is not None:
                yield begin, start
            begin = None
        elif begin is None:
            begin = start
    if begin is not None:
        yield begin, len(data)
