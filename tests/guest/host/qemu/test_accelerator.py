"""The accelerator as it really is here: a guest is booted, and the answer holds for the next one."""

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.host.qemu import accelerator

pytestmark = pytest.mark.guest


def test_a_guest_boots_with_what_the_probe_says(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    found = accelerator.probe(home)
    assert found.slowdown is not None
    assert 1.0 <= found.slowdown < 200
    assert accelerator._boot(found.name, 120) >= 1.0
    monkeypatch.setattr(accelerator, "_boot", lambda *arguments: pytest.fail("the second look boots nothing"))
    assert accelerator.probe(home) == found


def test_a_guest_that_is_not_up_in_time_is_a_failure() -> None:
    with pytest.raises(PipelineError, match="did not end within"):
        accelerator._boot("tcg", 0.2)
