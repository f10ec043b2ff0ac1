"""Change the installed system, in the order of the recipe's fields."""

from __future__ import annotations

from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.base.progress import Progress
from pipeline.host.guestfs.guest_system import GuestSystem
from pipeline.recipes.model.guest import GuestFile
from pipeline.recipes.model.recipe import Recipe
from pipeline.steps.offline import accounts, cloud_init, packages

_ZONES = Path("/usr/share/zoneinfo")


def apply(system: GuestSystem, recipe: Recipe, progress: Progress) -> None:
    """Do everything ``customize`` asks for, except keys, which come after sysprep."""
    options = recipe.customize
    if options.hostname:
        _set_hostname(system, options.hostname)
    if options.timezone:
        _set_timezone(system, options.timezone)
    if packages.needs_network(options) or options.remove_packages:
        progress.say("changing packages")
        packages.change(system, options)
    for user in options.users:
        accounts.add_user(system, user)
    for file in options.files:
        _put_file(system, file)
    if options.cloud_init is not None:
        cloud_init.configure(system, options.cloud_init)
    for service in options.enable_services:
        _set_service(system, service, True)
    for service in options.disable_services:
        _set_service(system, service, False)
    for number, command in enumerate(options.commands, 1):
        progress.say(f"running command {number} of {len(options.commands)}")
        system.run(command, f"customize.commands[{number - 1}]")


def _set_hostname(system: GuestSystem, name: str) -> None:
    old_style = "/etc/sysconfig/network"
    if "HOSTNAME=" in system.read(old_style) or (system.exists(old_style) and not system.has_command("hostnamectl")):
        system.replace_line(old_style, r"HOSTNAME=", f"HOSTNAME={name}")
    else:
        system.write("/etc/hostname", f"{name}\n")
    hosts = system.read("/etc/hosts")
    if "127.0.1.1" in hosts:  # Debian's way of naming the host itself
        system.replace_line("/etc/hosts", r"127\.0\.1\.1\s", f"127.0.1.1 {name}")


def _set_timezone(system: GuestSystem, zone: str) -> None:
    if system.exists(f"{_ZONES}/{zone}"):
        system.change("/etc/localtime", lambda: system.handle.ln_sf(f"{_ZONES}/{zone}", "/etc/localtime"))
    elif system.exists(str(_ZONES)) or not (_ZONES / zone).is_file():
        raise PipelineError(f"the guest knows no time zone {zone}", hint="see timedatectl list-timezones")
    else:
        # A guest without the database: the one zone it needs is copied from this machine's.
        system.write("/etc/localtime", (_ZONES / zone).read_bytes(), mode=0o644)
    if system.exists("/etc/timezone"):
        system.write("/etc/timezone", f"{zone}\n")


def _put_file(system: GuestSystem, file: GuestFile) -> None:
    content = file.content if file.content is not None else file.source.path.read_bytes() if file.source else b""
    system.write(file.path, content, mode=int(file.mode, 8))
    uid, gid = accounts.owner_of(system, file.owner, file.group)
    system.change(file.path, lambda: system.handle.chown(uid, gid, file.path))


def _set_service(system: GuestSystem, name: str, enabled: bool) -> None:
    what = f"{'enabling' if enabled else 'disabling'} the service {name}"
    if system.has_command("systemctl"):
        system.run(f"systemctl {'enable' if enabled else 'disable'} '{_plain(name)}'", what)
    elif system.has_command("chkconfig"):
        system.run(f"chkconfig '{_plain(name)}' {'on' if enabled else 'off'}", what)
    elif parts := system.glob(f"/etc/rc.d/S??-{_plain(name)}"):
        system.handle.chmod(0o755 if enabled else 0o644, parts[0])
    else:
        raise PipelineError(f"{what}: the guest has no such service, or no service manager that is known here")


def _plain(name: str) -> str:
    if not all(letter.isalnum() or letter in "@._:-" for letter in name):
        raise PipelineError(f"not the name of a service: {name!r}")
    return name
