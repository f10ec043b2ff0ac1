"""What the scrub does when the appliance's devices come and go; real file systems are scrubbed in tests/guest."""

from __future__ import annotations

import pytest

from pipeline.base.errors import PipelineError
from pipeline.host import scrub

GONE = "debug: /dev/sda2: No such file or directory\nfatal error -- couldn't initialize XFS library"


class Appliance:
    """Two devices, the first of which is not there for the first ``gone`` attempts."""

    def __init__(self, gone: int, said: str = GONE) -> None:
        self.gone, self.said, self.scrubbed = gone, said, 0

    def list_filesystems(self) -> dict[str, str]:
        return {"/dev/sda1": "ext4", "/dev/sda2": "btrfs"}

    def sync(self) -> None: ...

    def drop_caches(self, what: int) -> None: ...

    def zerofree(self, device: str) -> None:
        if self.gone:
            self.gone -= 1
            raise RuntimeError(self.said)
        self.scrubbed += 1


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrub, "_PAUSE", 0.0)


@pytest.mark.parametrize("gone", [0, 1, 5])
def test_a_device_that_comes_back_is_scrubbed(gone: int) -> None:
    appliance = Appliance(gone)
    assert scrub.scrub(appliance) == {"/dev/sda1": "zerofree", "/dev/sda2": scrub.NOT_COVERED}
    assert appliance.scrubbed == 1


def test_a_device_that_stays_away_is_an_error_never_silence() -> None:
    with pytest.raises(PipelineError, match="/dev/sda1 does not stay"):
        scrub.scrub(Appliance(1000))


def test_other_failures_are_not_repeated() -> None:
    appliance = Appliance(1, "zerofree: /dev/sda1: the file system has errors")
    with pytest.raises(RuntimeError, match="has errors"):
        scrub.scrub(appliance)
    assert appliance.scrubbed == 0 and appliance.gone == 0
