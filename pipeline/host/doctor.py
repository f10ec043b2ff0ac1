"""Define preflight rules: what must hold on this machine, each a small function whose words are the message with the
fix.

Every room may have a module ``preflight`` with rules of its own:

    @doctor.rule("disk space")
    def disk_space(home: Home) -> Iterator[Verdict]:
        yield doctor.good("12 GiB free in /var/tmp")

A rule yields one verdict for each thing it looked at. A ``PipelineError`` out of a rule counts as a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home


class PreflightLevel(StrEnum):
    """How bad it is."""

    GOOD = "ok"
    NOTE = "note"
    WARNING = "warning"
    FAILURE = "failure"

    @property
    def stops_work(self) -> bool:
        """Whether builds cannot go on."""
        return self is PreflightLevel.FAILURE


@dataclass(frozen=True)
class PreflightResult:
    """What a rule found on one thing, and the next action when it is not good."""

    level: PreflightLevel
    text: str
    fix: str | None = None


@dataclass(frozen=True)
class PreflightFinding:
    """A verdict and the rule that gave it."""

    rule: str
    verdict: PreflightResult


PreflightRule = Callable[[Home], Iterable[PreflightResult]]

_rules: dict[str, PreflightRule] = {}


def rule(name: str) -> Callable[[PreflightRule], PreflightRule]:
    """Register a rule under a name that is shown to people."""

    def register(function: PreflightRule) -> PreflightRule:
        if name in _rules and _rules[name] is not function:
            raise ValueError(f"two preflight rules are named {name!r}")
        _rules[name] = function
        return function

    return register


def good(text: str) -> PreflightResult:
    """Say that all is well."""
    return PreflightResult(PreflightLevel.GOOD, text)


def note(text: str, fix: str | None = None) -> PreflightResult:
    """Say that nothing is wrong, but something is worth knowing: something optional is absent."""
    return PreflightResult(PreflightLevel.NOTE, text, fix)


def warning(text: str, fix: str) -> PreflightResult:
    """Say that builds go on, slower or at a risk."""
    return PreflightResult(PreflightLevel.WARNING, text, fix)


def failure(text: str, fix: str) -> PreflightResult:
    """Say that builds cannot go on."""
    return PreflightResult(PreflightLevel.FAILURE, text, fix)


def names() -> list[str]:
    """Return the registered rules."""
    return list(_rules)


def examine(home: Home, only: Collection[str] | None = None) -> Iterator[PreflightFinding]:
    """Ask the rules (those named in ``only``, else all), each as its findings are wanted."""
    for name, function in _rules.items():
        if only is None or name in only:
            for verdict in _ask(function, home):
                yield PreflightFinding(name, verdict)


def require(home: Home, only: Collection[str]) -> None:
    """Raise one ``PipelineError`` naming everything that stops work, when anything does."""
    failed = [found.verdict for found in examine(home, only) if found.verdict.level.stops_work]
    if failed:
        fixes = dict.fromkeys(verdict.fix for verdict in failed if verdict.fix)
        raise PipelineError(
            "this machine is not ready",
            details=[verdict.text for verdict in failed],
            hint="; ".join(fixes) or None,
        )


def _ask(function: PreflightRule, home: Home) -> Iterator[PreflightResult]:
    try:
        yield from function(home)
    except PipelineError as error:
        yield failure(" ".join((error.message, *error.details)), error.hint or "see the message")
    except OSError as error:
        location = f"{error.filename}: " if error.filename else ""
        yield failure(
            f"{location}{error.strerror}", "give this user the right, or set PIPELINE_HOME to a folder of its own"
        )
