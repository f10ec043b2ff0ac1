"""Which file systems SQLite may live on."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.imageservice.catalog.database import filesystem
from pipeline.imageservice.catalog.database.connection import Database
from pipeline.imageservice.errors import Unavailable

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /srv rw shared:2 - nfs4 server:/export rw
31 30 8:2 / /srv/local rw shared:3 - xfs /dev/sdb1 rw
32 22 0:41 / /mnt/with\\040blank rw - cifs //server/share rw
33 22 0:42 / /over rw - nfs server:/a rw
34 22 8:3 / /over rw - ext4 /dev/sdc1 rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/home/x", "ext4"),
        ("/srv", "nfs4"),
        ("/srv/deep/er", "nfs4"),
        ("/srv/local/x", "xfs"),
        ("/srvx", "ext4"),
        ("/mnt/with blank/x", "cifs"),
        ("/over/x", "ext4"),
    ],
)
def test_the_innermost_and_latest_mount_counts(folder: str, kind: str) -> None:
    assert filesystem.kind_of(Path(folder), MOUNTS) == kind


def test_network_file_systems_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "kind_of", lambda folder: "nfs4")
    with pytest.raises(PipelineError, match="network file system") as caught:
        filesystem.refuse_network(Path("/srv"))
    assert "PostgreSQL" in str(caught.value)


def test_the_real_table_of_mounts_can_be_read(tmp_path: Path) -> None:
    assert filesystem.kind_of(tmp_path)
    filesystem.refuse_network(tmp_path)


@pytest.mark.parametrize("before", [None, 0o644, 0o606])
def test_others_cannot_read_the_database(tmp_path: Path, before: int | None) -> None:
    file = tmp_path / "catalog.db"
    if before is not None:
        file.touch()
        file.chmod(before)
    database = Database(f"sqlite:///{file}")
    database.write(lambda connection: connection.exec_driver_sql("create table t (x)"))
    journals = [path for path in tmp_path.iterdir() if path.name.startswith("catalog.db")]
    assert len(journals) == 5  # and the two files of the turns
    database.close()
    for path in journals:
        if path.exists():
            assert not path.stat().st_mode & 0o007, path
    assert not file.stat().st_mode & 0o007


def test_a_database_in_no_folder_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        Database(f"sqlite:///{tmp_path}/none/catalog.db").write(lambda connection: None)
