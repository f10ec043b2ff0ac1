"""Media, once a session, and places for what several tests look at."""

from __future__ import annotations

import contextlib
import functools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.guest.steps.kickstart.stock import Stock, stocked
from tests.standins.enterprise_linux import Release

NEEDED = ("createrepo_c", "rpmbuild", "grub-mkimage", "mkfs.xfs", "dropbear")


@pytest.fixture(scope="session")
def stock_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Release], Stock]]:
    """Makes media and their mirror, once a release."""
    lacking = [program for program in NEEDED if shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin") is None]
    if lacking:
        pytest.skip(f"the media cannot be made here: no {', '.join(lacking)}")
    with contextlib.ExitStack() as stack:

        @functools.cache
        def make(release: Release) -> Stock:
            return stack.enter_context(stocked(tmp_path_factory.mktemp(f"el{release.major}"), release))

        yield make


@pytest.fixture(scope="session")
def seven(stock_of: Callable[[Release], Stock]) -> Stock:
    return stock_of(Release(7, "7.9"))


@pytest.fixture(scope="session")
def six(stock_of: Callable[[Release], Stock]) -> Stock:
    return stock_of(Release(6, "6.10"))


@pytest.fixture
def through_mirror(monkeypatch: pytest.MonkeyPatch) -> Callable[[Stock], None]:
    """Has this machine reach the mirror under the address the guest uses."""

    def use(stock: Stock) -> None:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{stock.port}")

    return use


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what several tests look at."""
    return tmp_path_factory.mktemp("enterprise-linux")
