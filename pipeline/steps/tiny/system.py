"""Make the tiny guest's root file system: busybox, our scripts, kernel modules, a few programs and their libraries."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.host.media.file_tree import FileTree
from pipeline.host.system import tool_versions
from pipeline.host.system.kernel import Kernel, module_name, read_module
from pipeline.recipes.model.recipe import Recipe

GUEST_FILES = Path(__file__).parent / "guest"
BUSYBOX = Path("/bin/busybox")
# Besides busybox: to grow the root file system, and to log in. Package names are Debian's.
_PROGRAMS = {
    "/sbin/resize2fs": "e2fsprogs",
    "/usr/sbin/dropbear": "dropbear-bin",
    "/usr/bin/dropbearkey": "dropbear-bin",
}
_NEEDED = ("virtio_net", "virtio_rng", "button", "evdev", "isofs", "vfat", "nls_cp437", "nls_ascii")
# Where the kernel has them: other network cards a cloud may give, and what virtual machines like to have.
_WELCOME = ("e1000", "e1000e", "8139cp", "virtio_balloon", "virtio_console", "pvpanic_pci", "i6300esb")
_FOLDERS = (
    "proc",
    "sys",
    "dev",
    "run",
    "root",
    "home",
    "mnt",
    "tmp",
    "boot",
    "var/tmp",
    "var/log",
    "var/lib",
    "lost+found",
)
_LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x[0-9a-f]+\)$")
_MODES = {"/root": 0o700, "/tmp": 0o1777, "/var/tmp": 0o1777, "/lost+found": 0o700}  # noqa: S108 - paths in the guest


def build(recipe: Recipe, kernel: Kernel, day: int) -> FileTree:
    """Return the whole root file system. ``day`` is when passwords were last changed, in days since the epoch."""
    tree = FileTree()
    for folder in _FOLDERS:
        tree.add_folder(f"/{folder}", _MODES.get(f"/{folder}", 0o755))
    tree.add_host_tree(GUEST_FILES)
    _add_busybox(tree)
    for program, package in _PROGRAMS.items():
        _add_program(tree, program, package)
    _add_identity(tree, recipe)
    _add_users(tree, recipe.os.admin_user or "cirros", day)
    _add_modules(tree, kernel)
    tree.add_link("/etc/resolv.conf", "/run/resolv.conf")
    tree.add_link("/etc/mtab", "/proc/mounts")
    tree.add_link("/var/run", "/run")
    return tree


def busybox() -> bytes:
    """Return the static busybox of this machine. Raises ``PipelineError`` when it is missing or needs libraries."""
    hint = "Debian and Ubuntu: apt install busybox-static; Fedora: dnf install busybox"
    if not BUSYBOX.is_file():
        raise PipelineError("busybox is not installed", hint=hint)
    if _libraries(BUSYBOX):
        raise PipelineError("this machine's busybox is not the static one", hint=hint)
    return BUSYBOX.read_bytes()


def taken(kernel: Kernel) -> list[Path]:
    """Return the files of this machine that the root file system is made of."""
    programs = [_installed(program, package) for program, package in _PROGRAMS.items()]
    libraries = [library.resolve() for program in programs for library in _libraries(program)]
    return [BUSYBOX, *programs, *libraries, *kernel.load_order(*_modules(kernel))]


def _add_busybox(tree: FileTree) -> None:
    tree.add_file("/bin/busybox", busybox(), 0o755)
    for applet in tool_versions.output_of([BUSYBOX, "--list"]).stdout.split():
        if applet != "busybox":
            tree.add_link(f"/bin/{applet}", "busybox")
    for applet in ("init", "poweroff", "reboot", "halt", "getty", "modprobe"):
        tree.add_link(f"/sbin/{applet}", "../bin/busybox")
    tree.add_link("/usr/bin/awk", "../../bin/busybox")
    tree.add_link("/usr/bin/env", "../../bin/busybox")


def _add_program(tree: FileTree, program: str, package: str) -> None:
    found = _installed(program, package)
    tree.add_file(program, found, 0o755)
    for library in _libraries(found):
        tree.add_file(str(library), library.resolve(), 0o755)


def _installed(program: str, package: str) -> Path:
    found = shutil.which(Path(program).name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if found is None:
        raise PipelineError(f"{program} is not installed", hint=f"apt install {package}")
    return Path(found).resolve()


def _libraries(program: Path) -> list[Path]:
    listing = tool_versions.output_of(["ldd", program], program, check=False).stdout
    return [Path(match[1]) for line in listing.splitlines() if (match := _LIBRARY.search(line.strip()))]


def _add_identity(tree: FileTree, recipe: Recipe) -> None:
    version = recipe.os.version
    tree.add_file(
        "/etc/os-release",
        f'NAME="CirrOS"\nID={recipe.os.distro}\nVERSION_ID="{version}"\n'
        f'PRETTY_NAME="Tiny guest, CirrOS-like {version}"\n'.encode(),
    )
    # Where libguestfs looks for it.
    tree.add_file("/etc/cirros/version", f"{version}\n".encode())
    tree.add_file("/etc/hostname", b"cirros\n")
    tree.add_file("/etc/hosts", b"127.0.0.1 localhost\n::1 localhost\n")


def _add_users(tree: FileTree, admin: str, day: int) -> None:
    # No password fits "*": the only way in is a key.
    users = [("root", 0, "/root"), (admin, 1000, f"/home/{admin}")]
    passwd = "".join(f"{name}:x:{number}:{number}::{home}:/bin/sh\n" for name, number, home in users)
    shadow = "".join(f"{name}:*:{day}:0:99999:7:::\n" for name, _, _ in users)
    group = "".join(f"{name}:x:{number}:\n" for name, number, _ in users) + "tty:x:5:\nusers:x:100:\n"
    tree.add_file("/etc/passwd", passwd.encode())
    tree.add_file("/etc/shadow", shadow.encode(), 0o600)
    tree.add_file("/etc/group", group.encode())
    tree.add_folder(f"/home/{admin}", 0o750, uid=1000, gid=1000)
    tree.add_file("/etc/tiny/admin-user", f"{admin}\n".encode())


def _add_modules(tree: FileTree, kernel: Kernel) -> None:
    names = _modules(kernel)
    folder = f"/lib/modules/{kernel.version}"
    dependencies: dict[str, list[str]] = {}
    for name in names:
        order = kernel.load_order(name)
        for location, module in enumerate(order):
            tree.add_file(f"{folder}/{_plain(module, kernel)}", read_module(module))
            # Those before it in its load order: what it needs and, harmlessly, what its neighbours need.
            dependencies.setdefault(_plain(module, kernel), [_plain(other, kernel) for other in order[:location][::-1]])
    lines = [f"{own}: {' '.join(others)}".rstrip() for own, others in sorted(dependencies.items())]
    tree.add_file(f"{folder}/modules.dep", "".join(f"{line}\n" for line in lines).encode())
    tree.add_file("/etc/modules", "".join(f"{name}\n" for name in _loaded(kernel, names)).encode())


def _modules(kernel: Kernel) -> list[str]:
    return [*_NEEDED, *(name for name in _WELCOME if kernel.has(name))]


def _loaded(kernel: Kernel, names: list[str]) -> Iterator[str]:
    for name in names:
        order = kernel.load_order(name)
        if order:
            yield module_name(order[-1])


def _plain(module: Path, kernel: Kernel) -> str:
    relative = module.relative_to(kernel.modules_dir)
    return str(relative.with_name(f"{relative.name.partition('.ko')[0]}.ko"))
