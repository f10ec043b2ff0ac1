"""What a guest is set up to do, read from its files."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pipeline.host.guestfs import contents
from pipeline.host.guestfs.guest_files import GuestFiles
from pipeline.host.guestfs.guest_tree import GuestTree


class Folder:
    """A folder of this machine in place of an appliance: of libguestfs's calls those that only read."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _path(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def is_file(self, path: str, followsymlinks: bool) -> bool:
        return self._path(path).is_file()

    def read_file(self, path: str) -> bytes:
        data = self._path(path).read_bytes()
        if len(data) > 4 << 20:
            raise RuntimeError("too large for a message")
        return data

    def statns(self, path: str) -> dict[str, int]:
        return {"st_mode": self._path(path).stat().st_mode}

    def filesize(self, path: str) -> int:
        return self._path(path).stat().st_size

    def download(self, path: str, target: str) -> None:
        Path(target).write_bytes(self._path(path).read_bytes())


class Guest(GuestFiles):
    """Lists the folder by itself, where an appliance would run its find(1)."""

    def tree(self) -> GuestTree:
        made = GuestTree()
        for path in self.handle.root.rglob("*"):
            kind = "l" if path.is_symlink() else "d" if path.is_dir() else "f"
            made.add(f"/{path.relative_to(self.handle.root)}", kind, str(path.readlink()) if kind == "l" else "")
        return made


@pytest.fixture
def guest(tmp_path: Path) -> GuestFiles:
    return Guest(Folder(tmp_path), io.BytesIO())


def write(guest: GuestFiles, path: str, text: str) -> None:
    target: Path = guest.handle.root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def link(guest: GuestFiles, path: str, target: str) -> None:
    location: Path = guest.handle.root / path.lstrip("/")
    location.parent.mkdir(parents=True, exist_ok=True)
    location.symlink_to(target)


def test_services_of_every_kind_of_init_are_found(guest: GuestFiles) -> None:
    link(guest, "/etc/systemd/system/multi-user.target.wants/ssh.service", "/usr/lib/systemd/system/ssh.service")
    link(guest, "/etc/systemd/system/timers.target.wants/fstrim.timer", "/usr/lib/systemd/system/fstrim.timer")
    link(guest, "/etc/systemd/system/apt-daily.timer", "/dev/null")
    link(guest, "/etc/systemd/system/sshd.service", "/usr/lib/systemd/system/ssh.service")
    link(guest, "/etc/rc3.d/S01cron", "../init.d/cron")
    link(guest, "/etc/rc0.d/K01halt", "../init.d/halt")
    link(guest, "/etc/runlevels/default/chronyd", "/etc/init.d/chronyd")
    write(guest, "/etc/init.d/S50dropbear", "#!/bin/sh\n")
    (guest.handle.root / "etc/init.d/S50dropbear").chmod(0o755)
    write(guest, "/etc/rc.d/S70-switched-off", "#!/bin/sh\n")
    write(guest, "/etc/init.d/networking", "#!/bin/sh\n")
    assert contents._services(guest) == {
        "apt-daily.timer": "masked",
        "chronyd": "enabled",
        "cron": "enabled",
        "dropbear": "enabled",
        "fstrim.timer": "enabled",
        "ssh": "enabled",
    }


def test_ports_come_from_sockets_and_settings_of_what_is_enabled(guest: GuestFiles) -> None:
    write(
        guest,
        "/usr/lib/systemd/system/rpcbind.socket",
        "[Socket]\nListenStream=/run/rpcbind.sock\nListenStream=0.0.0.0:111\nListenDatagram=[::]:111\n#ListenStream=5\n",
    )
    write(guest, "/usr/lib/systemd/system/cockpit@.socket", "ListenStream = 9090\n")
    write(guest, "/etc/ssh/sshd_config", "#Port 99\nPort 2222\n")
    write(guest, "/etc/ssh/sshd_config.d/more.conf", "  port 2200\n")
    write(
        guest,
        "/etc/nginx/sites-enabled/default",
        "server {\n  listen [::]:8080 default_server;\n  listen 443 ssl;\n}\n",
    )
    names = ["rpcbind.socket", "cockpit@main.socket", "ssh", "nginx", "apache2", "dropbear", "gone.socket"]
    services = {**dict.fromkeys(names, "enabled"), "httpd": "masked"}
    assert contents._ports(guest, services) == {
        "tcp 111": "rpcbind.socket",
        "tcp 22": "dropbear",
        "tcp 2200": "ssh",
        "tcp 2222": "ssh",
        "tcp 443": "nginx",
        "tcp 80": "apache2",
        "tcp 8080": "nginx",
        "tcp 9090": "cockpit@main.socket",
        "udp 111": "rpcbind.socket",
    }


def test_users_are_told_with_what_they_may_do_and_without_their_hashes(guest: GuestFiles) -> None:
    write(guest, "/etc/passwd", "root:x:0:0:root:/root:/bin/bash\nops:x:1000:1000::/home/ops:\nbroken\nold:x:7\n")
    write(guest, "/etc/shadow", "root:*:19000::::::\nops:$6$secret$hash:19000::::::\n")
    write(guest, "/etc/group", "sudo:x:27:ops\nadm:x:4:syslog,ops\n")
    found = contents._users(guest)
    assert found == {
        "ops": "1000:1000, /bin/sh, a password, in adm sudo",
        "root": "0:0, /bin/bash, no password",
    }
    write(guest, "/etc/shadow", "root::19000::::::\n")
    assert contents._users(guest)["root"] == "0:0, /bin/bash, no password needed"


def test_files_too_large_to_be_read_say_nothing(guest: GuestFiles) -> None:
    write(guest, "/etc/passwd", "x" * (5 << 20))
    assert contents._users(guest) == {}


def test_many_files_take_little_text() -> None:
    files = {f"/usr/lib/package-{number // 50}/module_{number}.py": f"{number:012x}" for number in range(20_000)}
    packed = contents.pack(files)
    assert contents.unpack(packed) == files
    assert len(packed) < 400_000


_LINES = some.lists(some.text(alphabet="abc:,#\x00\x1b*!$ \tListenStream=0[]%/é", max_size=40), max_size=10)


@given(passwd=_LINES, shadow=_LINES, group=_LINES, unit=_LINES, sshd=_LINES)
def test_whatever_an_image_says_is_only_data(
    passwd: list[str], shadow: list[str], group: list[str], unit: list[str], sshd: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        guest = Guest(Folder(Path(folder)), io.BytesIO())
        for path, lines in (
            ("/etc/passwd", passwd),
            ("/etc/shadow", shadow),
            ("/etc/group", group),
            ("/etc/systemd/system/a.socket", unit),
            ("/etc/ssh/sshd_config", sshd),
        ):
            write(guest, path, "\n".join(lines))
        for name, told in contents._users(guest).items():
            assert len(name) <= 300 and len(told) <= 300
        for port in contents._ports(guest, {"a.socket": "enabled", "ssh": "enabled"}):
            assert port.split()[0] in ("tcp", "udp") and len(port) <= 9
