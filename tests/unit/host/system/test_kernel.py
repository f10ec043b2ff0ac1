import gzip
import lzma
import os
from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.host.system import kernel, process
from pipeline.host.system.kernel import Kernel


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Kernel]:
    """Four kernels in a folder of ours, as a distribution would have them in /boot and /lib/modules."""
    made = {}
    for version in ("6.9.1-generic", "6.10.2-generic", "6.1.0-9-cloud-amd64", "6.1.0-10-cloud-amd64"):
        folder = tmp_path / version
        folder.mkdir()
        (folder / "vmlinuz").touch()
        (folder / "modules.dep").touch()
        made[version] = Kernel(version, folder / "vmlinuz", folder)
    monkeypatch.setattr(kernel, "_installed", lambda: iter(made.values()))
    return made


def test_a_kernel_for_guests_comes_first_and_numbers_count_as_numbers(installed: dict[str, Kernel]) -> None:
    assert kernel.newest().version == "6.1.0-10-cloud-amd64"
    del installed["6.1.0-10-cloud-amd64"], installed["6.1.0-9-cloud-amd64"]
    assert kernel.newest().version == "6.10.2-generic"


def test_a_closed_kernel_is_passed_over_and_named_if_there_is_no_other(
    installed: dict[str, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: "cloud" not in str(path))
    assert kernel.newest().version == "6.10.2-generic"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PipelineError, match=r"may not read .*6\.9\.1-generic/vmlinuz") as caught:
        kernel.newest()
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("sudo chmod 0644 /")


def test_no_kernel_at_all(installed: dict[str, Kernel]) -> None:
    installed.clear()
    with pytest.raises(PipelineError, match="there is no kernel"):
        kernel.newest()


def test_modules_come_after_those_they_need(tmp_path: Path) -> None:
    (tmp_path / "modules.dep").write_text(
        "k/net/virtio_net.ko.xz: k/net/net_failover.ko.xz k/core/failover.ko.xz k/virtio.ko.xz\n"
        "k/net/net_failover.ko.xz: k/core/failover.ko.xz\nk/core/failover.ko.xz:\nk/virtio.ko.xz:\n"
        "k/block/virtio-blk.ko.xz: k/virtio.ko.xz\n"
    )
    (tmp_path / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\n")
    found = Kernel("6", tmp_path / "vmlinuz", tmp_path)
    names = [kernel.module_name(path) for path in found.load_order("virtio_blk", "virtio-net", "ext4")]
    assert names == ["virtio", "virtio_blk", "failover", "net_failover", "virtio_net"]
    with pytest.raises(PipelineError, match="has no module 'nfs'"):
        found.load_order("nfs")


@pytest.mark.subprocess
def test_modules_are_read_whatever_their_compression(tmp_path: Path) -> None:
    data = b"\x7fELF" + bytes(range(256)) * 10
    (tmp_path / "a.ko").write_bytes(data)
    (tmp_path / "a.ko.xz").write_bytes(lzma.compress(data))
    (tmp_path / "a.ko.gz").write_bytes(gzip.compress(data))
    process.run(["zstd", "-q", tmp_path / "a.ko"])
    assert {kernel.read_module(path) for path in tmp_path.iterdir()} == {data}


def test_this_machine_has_one() -> None:
    found = kernel.newest()
    assert found.vmlinuz.stat().st_size > 1 << 20
    assert found.load_order("virtio_blk")


def test_a_kind_or_a_version_narrows_the_choice(installed: dict[str, Kernel]) -> None:
    assert kernel.newest("cloud").version == "6.1.0-10-cloud-amd64"
    assert kernel.newest("generic").version == "6.10.2-generic"
    assert kernel.newest("6.9.1-generic").version == "6.9.1-generic"
    with pytest.raises(PipelineError, match=r"no kernel of kind '5\.4'"):
        kernel.newest("5.4")
