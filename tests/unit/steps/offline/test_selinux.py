"""Label the files of guests that use SELinux."""

from __future__ import annotations

import pytest

from pipeline.steps.offline import selinux
from tests.unit.steps.offline.guest_files import Files, guest


@pytest.mark.parametrize(
    ("config", "due"),
    [
        ("# SELINUX= one of\nSELINUX=enforcing\n", True),
        ("SELINUX=permissive", True),
        ("SELINUX=disabled\n", False),
        ("", False),
    ],
)
def test_only_guests_that_use_selinux_label_their_files(config: str, due: bool) -> None:
    files = Files(_etc_selinux_config=config)
    assert selinux.relabel_at_start(guest(files)) is due
    assert files.exists(selinux.MARK) is due
