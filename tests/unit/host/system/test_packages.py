import platform

import pytest

from pipeline.base.errors import PipelineError
from pipeline.host.system import packages


def test_the_table_is_whole() -> None:
    rows = packages.table()
    assert {row.group for row in rows} == {"core", "build", "lint", "test", "optional"}
    assert all(row.why for row in rows)
    names = [row.debian for row in rows]
    assert len(names) == len(set(names))


def test_names_differ_by_distribution() -> None:
    row = packages.table("build  linux-cloud  linux-virtual  kernel-core  boots guests\n")[0]
    assert [row.name_for(column) for column in ("debian", "ubuntu", "dnf")] == [
        "linux-cloud",
        "linux-virtual",
        "kernel-core",
    ]
    row = packages.table("core  python3-venv  =  -  makes the environment\n")[0]
    assert [row.name_for(column) for column in ("debian", "ubuntu", "dnf")] == ["python3-venv", "python3-venv", None]
    assert row.why == "makes the environment"


def test_a_row_without_a_reason_is_refused() -> None:
    with pytest.raises(PipelineError, match=r"system\.txt:2: five columns"):
        packages.table("# group\nbuild qemu = qemu-kvm\n")


@pytest.mark.parametrize(
    ("release", "column"),
    [
        ({"ID": "debian"}, "debian"),
        ({"ID": "ubuntu", "ID_LIKE": "debian"}, "ubuntu"),
        ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, "ubuntu"),
        ({"ID": "fedora"}, "dnf"),
        ({"ID": "almalinux", "ID_LIKE": "rhel centos fedora"}, "dnf"),
        ({"ID": "arch"}, None),
    ],
)
def test_distributions_are_told_apart(
    release: dict[str, str], column: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: release)
    assert packages.distribution() == column


@pytest.mark.subprocess
def test_what_is_not_installed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        packages,
        "table",
        lambda: [packages.RequiredPackage("build", name, name, name, "x") for name in ("dpkg", "no-such-package")],
    )
    assert [row.debian for row in packages.missing(("build",), "debian")] == ["no-such-package"]
    assert packages.missing(("test",), "debian") == []
