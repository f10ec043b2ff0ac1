import errno
from collections.abc import Iterator

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.host import doctor
from pipeline.host.doctor import PreflightFinding, PreflightLevel, PreflightResult


@pytest.fixture(autouse=True)
def no_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_rules", {})


def _register(name: str, *verdicts: PreflightResult) -> None:
    @doctor.rule(name)
    def found(home: Home) -> Iterator[PreflightResult]:
        yield from verdicts


def test_every_verdict_carries_its_rule(home: Home) -> None:
    _register("disk", doctor.good("plenty"), doctor.warning("little", "free some"))
    _register("port", doctor.note("taken by us"))
    assert list(doctor.examine(home)) == [
        PreflightFinding("disk", PreflightResult(PreflightLevel.GOOD, "plenty")),
        PreflightFinding("disk", PreflightResult(PreflightLevel.WARNING, "little", "free some")),
        PreflightFinding("port", PreflightResult(PreflightLevel.NOTE, "taken by us")),
    ]
    assert [found.rule for found in doctor.examine(home, ["port"])] == ["port"]


@pytest.mark.parametrize(
    ("error", "text", "fix"),
    [
        (PipelineError("no QEMU", hint="install it"), "no QEMU", "install it"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "/x: Permission denied", "give this user the right"),
    ],
)
def test_a_rule_that_fails_is_a_failure_and_the_others_go_on(home: Home, error: Exception, text: str, fix: str) -> None:
    @doctor.rule("broken")
    def broken(home: Home) -> Iterator[PreflightResult]:
        raise error
        yield

    _register("next", doctor.good("fine"))
    failed, fine = (found.verdict for found in doctor.examine(home))
    assert (failed.level, failed.text) == (PreflightLevel.FAILURE, text)
    assert failed.fix is not None
    assert failed.fix.startswith(fix)
    assert fine.level is PreflightLevel.GOOD


def test_what_stops_work_is_one_error_with_each_fix_once(home: Home) -> None:
    _register("disk", doctor.failure("/home is full", "free some"), doctor.failure("/tmp is full", "free some"))
    _register("memory", doctor.failure("too little", "buy some"), doctor.warning("slow", "wait"))
    with pytest.raises(PipelineError) as caught:
        doctor.require(home, ["disk", "memory"])
    assert caught.value.details == ("/home is full", "/tmp is full", "too little")
    assert caught.value.hint == "free some; buy some"


def test_warnings_stop_nothing(home: Home) -> None:
    _register("memory", doctor.warning("slow", "wait"))
    doctor.require(home, ["memory"])


def test_two_rules_of_one_name_are_a_mistake() -> None:
    _register("disk")
    with pytest.raises(ValueError, match="two preflight rules are named 'disk'"):
        _register("disk")
