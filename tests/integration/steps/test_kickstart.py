"""The install step up to the guest: what is wrong with media, mirrors or the kickstart is said without one."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import PipelineError
from pipeline.host.media import iso
from pipeline.recipes.model.source_file import SourceFile
from pipeline.steps.kickstart import run as installer
from pipeline.steps.kickstart.step import InstallKickstart
from tests.guest.conftest import context_for
from tests.unit.steps.kickstart.kickstarts import recipe

COMPS = b"<comps><group><id>core</id><name>Core</name></group></comps>"


def repository(*packages: str) -> dict[str, bytes]:
    """The files of a repository that has these packages and the group core."""
    listed = "".join(f'<package type="rpm"><name>{name}</name></package>' for name in packages)
    primary = gzip.compress(f"<metadata>{listed}</metadata>".encode())
    parts = {"primary": ("repodata/primary.xml.gz", primary), "group": ("repodata/comps.xml", COMPS)}
    told = "".join(
        f'<data type="{kind}"><checksum type="sha256">{hashlib.sha256(data).hexdigest()}</checksum>'
        f'<location href="{path}"/></data>'
        for kind, (path, data) in parts.items()
    )
    return {"repodata/repomd.xml": f"<repomd>{told}</repomd>".encode(), **dict(parts.values())}


def media(path: Path, version: str = "7.9") -> Path:
    treeinfo = (
        f"[general]\nfamily = Red Hat Enterprise Linux\nversion = {version}\narch = x86_64\n"
        "[images-x86_64]\nkernel = images/pxeboot/vmlinuz\ninitrd = images/pxeboot/initrd.img\n"
    )
    iso.write(path, "RHEL", {".treeinfo": treeinfo.encode(), **repository("chrony", "rsyslog")})
    return path


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "mirror"
    for name, data in repository("cloud-init", "cloud-utils-growpart").items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *words: object) -> None:
            pass

    serve = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[installer.Installation]]:
    """Runs the step with an installer that only notes what it was started with."""
    started: list[installer.Installation] = []

    def note(context: Any, wanted: installer.Installation) -> float:
        started.append(wanted)
        return 1.0

    monkeypatch.setattr(installer, "run", note)

    def install(
        kickstart: str | Path = "rhel7.ks", version: str = "7.9", **wishes: Any
    ) -> list[installer.Installation]:
        medium = media(tmp_path / "dvd.iso", version)
        given = {"file": SourceFile("dvd.iso", medium), **wishes}
        InstallKickstart().run(context_for(recipe(kickstart, install=given), tmp_path / "run"))
        return started

    return install


def test_good_media_and_a_mirror_start_the_installer(
    run: Callable[..., list[installer.Installation]], mirror: str, tmp_path: Path
) -> None:
    (started,) = run(repositories=[{"name": "extra", "url": mirror}])
    assert started.tree.info.release == "Red Hat Enterprise Linux 7.9"
    assert started.sentinel in started.kickstart
    assert (tmp_path / "run/evidence/kickstart.ks").read_text() == started.kickstart


def dead() -> str:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{nobody.getsockname()[1]}/"


def test_dead_and_wrong_mirrors_are_all_told(run: Callable[..., list[installer.Installation]], mirror: str) -> None:
    places = [("gone", dead()), ("extra", mirror), ("empty", f"{mirror}nothing/")]
    with pytest.raises(PipelineError) as caught:
        run(repositories=[{"name": name, "url": url} for name, url in places])
    assert [line.partition(" ")[0] for line in caught.value.details] == ["gone", "empty"]
    assert "nothing listens there" in caught.value.details[0]
    assert "this is no repository of packages" in caught.value.details[1]


def test_media_of_another_release_and_packages_that_nobody_has(
    run: Callable[..., list[installer.Installation]], mirror: str
) -> None:
    with pytest.raises(PipelineError) as caught:
        run(version="7.2", repositories=[{"name": "extra", "url": mirror}], packages=["chorny"])
    assert caught.value.message == "the kickstart of rhel has 2 mistakes"
    assert "the media install Red Hat Enterprise Linux 7.2" in caught.value.details[0]
    assert "no package chorny on the media, extra; did you mean chrony?" in caught.value.details[1]


def test_another_disk_than_the_one_the_bus_has(
    run: Callable[..., list[installer.Installation]], mirror: str, tmp_path: Path
) -> None:
    shipped = (Path(__file__).parents[3] / "kickstarts/rhel7.ks").read_text()
    (tmp_path / "mine.ks").write_text(shipped.replace("{{ disk }}", "sda"))
    with pytest.raises(PipelineError) as caught:
        run(tmp_path / "mine.ks", repositories=[{"name": "extra", "url": mirror}])
    assert len(caught.value.details) == 4
    assert all("names the disk sda, but on the virtio bus" in line for line in caught.value.details)


def test_repositories_that_the_kickstart_names_by_itself(
    run: Callable[..., list[installer.Installation]], mirror: str, tmp_path: Path
) -> None:
    shipped = (Path(__file__).parents[3] / "kickstarts/rhel7.ks").read_text()
    mine = tmp_path / "mine.ks"
    mine.write_text(shipped.replace("skipx\n", f"skipx\nrepo --name=mine --baseurl={mirror}\n"))
    (started,) = run(mine)
    assert f"--baseurl={mirror}" in started.kickstart
    mine.write_text(shipped.replace("skipx\n", f"skipx\nrepo --name=mine --baseurl={dead()}\n"))
    with pytest.raises(PipelineError) as caught:
        run(mine)
    assert caught.value.details[0].startswith("mine (http://127.0.0.1:")


def test_without_the_network_nothing_is_asked(tmp_path: Path, mirror: str) -> None:
    wishes = {
        "file": SourceFile("dvd.iso", media(tmp_path / "dvd.iso")),
        "repositories": [{"name": "x", "url": mirror}],
    }
    context = context_for(recipe(install=wishes), tmp_path / "run", offline=True)
    with pytest.raises(PipelineError, match="the network is not to be used"):
        InstallKickstart().run(context)


def test_the_key_holds_secrets_by_their_generation_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_SECRET_USER", "someone")
    monkeypatch.setenv("PIPELINE_SECRET_PASS", "a long password")
    account = {"username": "user", "password": "pass"}
    medium = SourceFile("dvd.iso", media(tmp_path / "dvd.iso"))
    inputs = InstallKickstart().inputs(recipe(install={"file": medium, "subscription": account}))
    assert inputs["secrets"] == ["user (generation 1)", "pass (generation 1)"]
    assert "someone" not in str(inputs) and "a long password" not in str(inputs)


def test_mirrors_are_looked_at_before_a_nightly_run() -> None:
    found = recipe(install={"repositories": [{"name": "extra", "url": "http://mirror.example.org/x"}]})
    (external_inputs,) = InstallKickstart().external_inputs(found)
    assert external_inputs.urls == ("http://mirror.example.org/x/repodata/repomd.xml",)
