"""docs/security.md names a test for each line of its threat table, and each of them exists."""

from __future__ import annotations

import re

from pipeline.base.home import CHECKOUT

PAGE = CHECKOUT / "docs" / "security.md"
TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def test_every_threat_has_a_test_that_exists() -> None:
    rows = [line for line in PAGE.read_text().partition("## Threats")[2].splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 15
    for row in rows:
        named = TEST.findall(row.rsplit("|", 2)[1])
        assert named, row
        for file, test in named:
            text = (CHECKOUT / file).read_text()
            assert not test or re.search(rf"^\s*(async )?def {test}\(", text, re.MULTILINE), f"{file}::{test}"
