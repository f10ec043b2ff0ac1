"""Write times and amounts as people read them."""

from __future__ import annotations

from pipeline.engine.units.resources import amount


def duration(seconds: float) -> str:
    """Return ``seconds`` as "0.4 s", "12 s", "3 m 05 s", "1 h 02 m"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} m {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} m"


def measure(done: int, total: int | None, unit: str) -> str:
    """Return an amount as "40 %", "1.0 MiB of 2.0 MiB", "3 of 7 files"."""
    if unit == "%":
        return f"{done} %"
    if unit == "B":
        return amount(done) if total is None else f"{amount(done)} of {amount(total)}"
    return f"{done} {unit}" if total is None else f"{done} of {total} {unit}"
