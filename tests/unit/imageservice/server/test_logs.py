"""The log's levels, in a process of their own, since there is one log in a process."""

from __future__ import annotations

import sys

import pytest

from pipeline.base.home import CHECKOUT
from pipeline.host.system import process

pytestmark = pytest.mark.subprocess

_PROGRAM = """
import logging, sys
from pipeline.imageservice.server import logs
logs.set_up(sys.argv[1])
for name in ("imageservice.access", "urllib3", "alembic", "imageservice.events"):
    for level in ("debug", "info", "warning", "error"):
        getattr(logging.getLogger(name), level)("%s a\\nb", level)
"""


@pytest.mark.parametrize(
    ("level", "ours", "libraries", "migrations"),
    [("debug", 4, 3, 2), ("info", 3, 3, 2), ("warning", 2, 2, 2), ("error", 1, 1, 1)],
)
def test_what_is_logged(level: str, ours: int, libraries: int, migrations: int) -> None:
    lines = process.run([sys.executable, "-c", _PROGRAM, level], cwd=CHECKOUT).stderr.splitlines()
    assert len(lines) == ours + libraries + migrations + max(ours, 3)  # what clients sent stays within its line

    def count(name: str) -> int:
        return sum(f" {name}: " in line for line in lines)

    assert count("imageservice.access") == ours
    assert count("urllib3") == libraries  # at debug they write keys
    assert count("alembic") == migrations
    assert count("imageservice.events") == max(ours, 3)  # somebody asked for them


_FAULTS = """
import logging
from pipeline.imageservice.server import logs
from pipeline.imageservice.server.application import ImageApplication
from pipeline.imageservice.server.options import ServerOptions
logs.set_up("info")
said = "\\x1b[2K\\x9b1A\\n2026-12-01 00:00:00,000 INFO imageservice.access: forged\\u2028forged"
server = ImageApplication(("127.0.0.1", 1), ServerOptions(), lambda: None)
lines = server.cfg.logger_class(server.cfg)
for log in (logging.getLogger("imageservice.problems"), lines):
    try:
        raise ValueError(said)
    except ValueError:
        log.exception("%s failed", said)
"""


def test_what_clients_sent_forges_no_entry_by_a_traceback_either() -> None:
    text = process.run([sys.executable, "-c", _FAULTS], cwd=CHECKOUT).stderr
    assert not set(text) & set("\x1b\x9b\u2028")
    ours, servers = (line for line in text.splitlines() if not line.startswith("  "))
    assert " ERROR imageservice.problems: " in ours and "[ERROR]" in servers
    assert text.count("ValueError") == 2
