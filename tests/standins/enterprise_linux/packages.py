"""The packages on the media: small ones, under the real ones' names, at the real ones' places."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.host.media.initramfs import Archive
from pipeline.host.system import process
from pipeline.host.system.kernel import Kernel, module_name, read_module
from tests.standins.enterprise_linux.files import Files

TINY = Path(__file__).parents[3] / "pipeline/steps/tiny"
HERE = Path(__file__).parent
_DISK_DRIVERS = ("virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "sr_mod", "ata_piix", "ext4", "xfs", "virtio_rng")
_DRIVERS = ("virtio_net", "virtio_rng", "button", "evdev", "isofs", "vfat", "nls_cp437", "nls_ascii")
# Applets that would be taken for programs they are not, or that a package of ours brings.
_NOT_OURS = {"busybox", "sh", "rpm", "rpm2cpio", "dpkg", "dpkg-deb", "mke2fs", "run-init", "linuxrc", "init", "getty"}
GRUB_TOOLS = ("grub-probe", "grub-mkrelpath", "grub-editenv", "grub-script-check", "grub-mkimage", "grub-file")
CORE = (
    "filesystem setup release busybox rpm kernel initscripts util-linux dracut yum passwd openssh-server rsyslog "
    "subscription-manager boot-loader"
).split()


def insmod_order(kernel: Kernel, *names: str) -> list[Path]:
    return kernel.load_order(*(name for name in names if kernel.has(name)))


def all_packages(major: int, release: str, product: str, network: str, kernel: Kernel) -> dict[str, Files]:
    """Each package's files, by its name. ``network``: where the Content Delivery Network is."""
    makers: Mapping[str, Callable[[Files], None]] = {
        "filesystem": lambda files: _filesystem(files, major),
        "setup": _setup,
        "release": lambda files: _release(files, major, release, product),
        "busybox": _busybox,
        "rpm": _rpm,
        "kernel": lambda files: _kernel(files, kernel),
        "initscripts": lambda files: _initscripts(files, major, kernel),
        "util-linux": _util_linux,
        "dracut": lambda files: _dracut(files),
        "yum": lambda files: files.script("/usr/bin/yum", (HERE / "yum.sh").read_text()),
        "subscription-manager": lambda files: _subscription_manager(files, network),
        "passwd": lambda files: files.folder("/etc/security"),
        "openssh-server": _openssh,
        "rsyslog": lambda files: files.file("/etc/rc.d/S30-rsyslog", TINY / "guest/etc/rc.d/S30-log", 0o644),
        "chrony": lambda files: files.file("/etc/chrony.conf", "server 0.rhel.pool.ntp.org iburst\n"),
        "acpid": lambda files: files.folder("/etc/acpid"),
        "dhclient": lambda files: files.folder("/var/lib/dhclient"),
        "boot-loader": _grub2 if major >= 7 else _grub,
        "cloud-init": lambda files: _cloud_init(files, major),
        "cloud-utils-growpart": lambda files: files.script("/usr/bin/growpart", 'exec /usr/lib/growroot "$@"\n'),
        "dracut-modules-growroot": lambda files: files.folder("/usr/share/dracut/modules.d/50growroot"),
    }
    found = {}
    for name, make in makers.items():
        files = Files(merged=major >= 7)
        make(files)
        found[name] = files
    return found


def real_name(name: str, major: int) -> str:
    """The name the package has in that release."""
    if name == "boot-loader":
        return "grub2" if major >= 7 else "grub"
    return "redhat-release-server" if name == "release" else "coreutils" if name == "busybox" else name


def small_system(files: Files) -> None:
    """Folders, accounts and busybox, in the layout of release 9; it has no kernel, and nothing starts in it."""
    _filesystem(files, 9)
    _setup(files)
    _busybox(files)
    rpm_configuration(files)


def starting(files: Files, kernel: Kernel) -> None:
    """What a system with a merged /usr starts and applies its seed by: kernel, initramfs, scripts of the tiny guest."""
    _kernel(files, kernel)
    _initscripts(files, 9, kernel)
    _util_linux(files)
    _cloud_init(files, 7)


def _filesystem(files: Files, major: int) -> None:
    for path in (
        "/boot /dev /etc/sysconfig/network-scripts /etc/udev/rules.d /etc/yum.repos.d /home /mnt /proc /run /sys "
        "/var/log /var/lib /var/spool/mail /var/cache/yum /usr/bin /usr/sbin /usr/lib /usr/lib64 /usr/share "
        "/etc/cloud/cloud.cfg.d"
    ).split():
        files.folder(path)
    for path, mode in (("/root", 0o700), ("/tmp", 0o1777), ("/var/tmp", 0o1777)):
        files.folder(path, mode)
    if major >= 7:
        for name in ("bin", "sbin", "lib", "lib64"):
            files.entries[f"/{name}"] = ("link", f"usr/{name}", 0o777)
        files.link("/var/run", "../run")
    else:
        for path in ("/bin", "/sbin", "/lib", "/lib64"):
            files.folder(path)
        files.link("/var/run", "/run")


def _setup(files: Files) -> None:
    users = (("root", 0, "/root", "/bin/bash"), ("nobody", 99, "/", "/sbin/nologin"))
    files.file("/etc/passwd", "".join(f"{name}:x:{uid}:{uid}::{home}:{shell}\n" for name, uid, home, shell in users))
    files.file("/etc/shadow", "root:!!:16000:0:99999:7:::\nnobody:*:16000:0:99999:7:::\n", 0o000)
    groups = (("root", 0), ("tty", 5), ("wheel", 10), ("adm", 4), ("nobody", 99), ("users", 100))
    files.file("/etc/group", "".join(f"{name}:x:{number}:\n" for name, number in groups))
    files.file(
        "/etc/hosts", "127.0.0.1   localhost localhost.localdomain\n::1         localhost localhost.localdomain\n"
    )
    files.file("/etc/profile", "export PATH=/sbin:/usr/sbin:/bin:/usr/bin\n")
    files.file("/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n")
    files.file("/etc/shells", "/bin/sh\n/bin/bash\n")


def _release(files: Files, major: int, release: str, product: str) -> None:
    code = {6: "Santiago", 7: "Maipo"}[major]
    named = f"{product} release {release} ({code})\n"
    files.file("/etc/redhat-release", named)
    files.link("/etc/system-release", "redhat-release")
    if major >= 7:
        identity = "centos" if product.startswith("CentOS") else "rhel"
        files.file(
            "/etc/os-release",
            f'NAME="{product}"\nID="{identity}"\nVERSION_ID="{release}"\nPRETTY_NAME="{named.strip()}"\n',
        )


def _busybox(files: Files) -> None:
    files.file("/bin/busybox", Path("/bin/busybox"), 0o755)
    for applet in process.run(["/bin/busybox", "--list"]).stdout.split():
        if applet not in _NOT_OURS and applet not in ("[", "[["):
            files.link(f"/bin/{applet}", "busybox")
    files.link("/bin/[", "busybox")
    # Busybox's own shell takes applets for programs of the same name (rpm, say). Scripts keep to what both know.
    files.program("/bin/sh", "dash")
    files.program("/bin/bash", "dash")
    for applet in ("init", "poweroff", "reboot", "halt", "getty", "modprobe"):
        files.link(f"/sbin/{applet}", "/bin/busybox")
    if files.merged:
        files.link("/usr/bin/nice", "busybox")
    else:
        for applet in ("awk", "env", "id", "stat", "basename", "dirname"):
            files.link(f"/usr/bin/{applet}", "../../bin/busybox")


def rpm_configuration(files: Files) -> None:
    for name in ("rpmrc", "rpmpopt-4.18.0"):
        source = Path("/usr/lib/rpm") / name
        if source.is_file():
            files.file(f"/usr/lib/rpm/{name}", source)
    macros = Path("/usr/lib/rpm/macros").read_text()
    plain = [
        line for line in macros.splitlines() if not line.startswith("%_dbpath\t") and "_dbpath	" not in line[:10]
    ]
    files.file("/usr/lib/rpm/macros", "\n".join([*plain, "%_dbpath /var/lib/rpm", "%_db_backend sqlite", ""]))


def _rpm(files: Files) -> None:
    files.program("/bin/rpm", "rpm")
    files.folder("/var/lib/rpm")
    rpm_configuration(files)


def _kernel(files: Files, kernel: Kernel) -> None:
    files.file(f"/boot/vmlinuz-{kernel.version}", kernel.vmlinuz)
    files.file(f"/boot/initramfs-{kernel.version}.img", initramfs(kernel), 0o600)
    folder = f"/lib/modules/{kernel.version}"
    order = insmod_order(kernel, *_DRIVERS)
    for module in order:
        files.file(f"{folder}/{module_name(module)}.ko", read_module(module))
    # In the order to load them in; nothing in the guest asks for more.
    files.file("/etc/modules", "".join(f"{folder}/{module_name(module)}.ko\n" for module in order))
    files.file(f"{folder}/modules.dep", "".join(f"{module_name(module)}.ko:\n" for module in order))


def initramfs(kernel: Kernel) -> bytes:
    """What dracut would have made: it finds the root by its UUID, grows its partition, and goes there."""
    made = Archive()
    made.add_file("bin/busybox", Path("/bin/busybox").read_bytes(), 0o755)
    made.add_file("init", (HERE / "initramfs.sh").read_bytes(), 0o755)
    made.add_file("grow-partition", (TINY / "initramfs/grow-partition").read_bytes(), 0o755)
    order = insmod_order(kernel, *_DISK_DRIVERS)
    for module in order:
        made.add_file(f"modules/{module_name(module)}.ko", read_module(module))
    made.add_file("modules/order", "".join(f"{module_name(module)}.ko\n" for module in order).encode())
    return gzip.compress(made.finish(), 1, mtime=0)


def _initscripts(files: Files, major: int, kernel: Kernel) -> None:
    guest = TINY / "guest"
    for name in ("init.d/rcS", "init.d/rcK", "inittab", "udhcpc.script"):
        mode = 0o644 if name == "inittab" else 0o755
        files.file(f"/etc/{name}", guest / "etc" / name, mode)
    files.file("/etc/acpi/PWRF/00000080", guest / "etc/acpi/PWRF/00000080", 0o755)
    files.file("/etc/rc.d/S10-mounts", (HERE / "mounts.sh").read_bytes(), 0o755)
    files.script(
        "/etc/rc.d/S20-modules", 'while read -r file; do insmod "$file" 2> /dev/null; done < /etc/modules\nexit 0\n'
    )
    for name in ("S40-acpid", "S50-network"):
        files.file(f"/etc/rc.d/{name}", guest / "etc/rc.d" / name, 0o755)
    files.file("/etc/rc.d/S99-ready", (HERE / "ready.sh").read_bytes(), 0o755)
    files.link("/etc/mtab", "/proc/mounts")
    if major >= 7:
        files.script("/usr/bin/hostnamectl", "exec cat /etc/hostname\n")
    else:
        files.file("/etc/sysconfig/init", "BOOTUP=color\nACTIVE_CONSOLES=/dev/tty[1-6]\n")


def _util_linux(files: Files) -> None:
    files.program("/usr/sbin/xfs_growfs")
    files.program("/sbin/resize2fs")


def _dracut(files: Files) -> None:
    files.folder("/etc/dracut.conf.d")
    files.script(
        "/sbin/dracut",
        '[ "$1" = -f ] && [ -d "/lib/modules/$3" ] && [ -f "$2" ] || { echo "dracut: not understood: $*"; exit 1; }\n'
        'echo "dracut: $2 is made for all hardware already"\n',
    )


def _subscription_manager(files: Files, network: str) -> None:
    files.file("/etc/rhsm/rhsm.conf", f"[rhsm]\nbaseurl = {network}\n")
    files.script("/usr/sbin/subscription-manager", (HERE / "subscription-manager.sh").read_text())
    files.folder("/etc/pki/consumer")
    files.folder("/etc/pki/entitlement")
    files.folder("/var/log/rhsm")


def _openssh(files: Files) -> None:
    files.program("/usr/sbin/dropbear")
    files.program("/usr/bin/dropbearkey")
    files.file("/etc/rc.d/S70-sshd", TINY / "guest/etc/rc.d/S70-sshd", 0o644)


def _grub2(files: Files) -> None:
    """GRUB 2 itself, under the names and at the places of release 7."""
    _grub_tools(files)
    files.program("/usr/sbin/grub2-mkconfig", "grub-mkconfig")
    files.file("/usr/share/grub/grub-mkconfig_lib", Path("/usr/share/grub/grub-mkconfig_lib"))
    for name in ("00_header", "10_linux"):
        files.file(f"/etc/grub.d/{name}", Path("/etc/grub.d") / name, 0o755)
    files.folder("/etc/default")
    files.script("/usr/sbin/grub2-install", 'exec grub-install --target=i386-pc --no-floppy --no-nvram "$@"\n')
    files.folder("/boot/grub2")
    # Where Debian's build looks for it.
    files.link("/boot/grub", "grub2")


def _grub(files: Files) -> None:
    """The older GRUB's configuration, read by GRUB 2: no distribution of today has the older program."""
    _grub_tools(files)
    files.folder("/boot/grub")
    files.script("/sbin/grub-install", (HERE / "grub-install.sh").read_text())


def _grub_tools(files: Files) -> None:
    for name in GRUB_TOOLS:
        files.program(f"/usr/{'sbin' if name == 'grub-probe' else 'bin'}/{name}")
    files.program("/usr/sbin/grub-install")
    files.program("/usr/lib/grub/i386-pc/grub-bios-setup", "/usr/lib/grub/i386-pc/grub-bios-setup")
    for source in sorted(Path("/usr/lib/grub/i386-pc").iterdir()):
        if source.suffix in (".mod", ".lst", ".img", ".sh"):
            files.file(f"/usr/lib/grub/i386-pc/{source.name}", source)


def _cloud_init(files: Files, major: int) -> None:
    """cloud-init's configuration as the real package has it, and the tiny guest's way of applying a seed."""
    files.file("/etc/cloud/cloud.cfg", (HERE / f"cloud-{major}.cfg").read_bytes())
    files.folder("/etc/cloud/cloud.cfg.d")
    files.script("/usr/bin/cloud-init", 'echo "cloud-init stand-in: $*"\n')
    for name in ("json-lines", "yaml-lines", "read-seed", "apply-seed", "run-user-data"):
        files.file(f"/usr/lib/tiny/{name}", TINY / "guest/usr/lib/tiny" / name, 0o755)
    files.file("/etc/rc.d/S60-cloud-init", (HERE / "cloud-init.sh").read_bytes(), 0o755)
    files.folder("/etc/tiny")
    files.folder("/var/lib/cloud")
