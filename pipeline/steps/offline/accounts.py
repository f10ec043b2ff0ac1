"""Add accounts and their keys to a guest. Passwords are locked; the only way in is a key."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Iterable

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs.guest_system import GuestSystem
from pipeline.recipes.model.guest import User
from pipeline.recipes.model.recipe import Recipe
from pipeline.steps.reproducible import EPOCH

# No password has this digest, and OpenSSH still takes a key (it refuses accounts that begin with "!" without PAM).
_NO_PASSWORD = "*"  # noqa: S105
_DATABASES = ("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/subuid", "/etc/subgid", "/etc", "/home")


def add_user(system: GuestSystem, user: User) -> None:
    """Make an account, or change the one that is there, as the recipe says."""
    exists = _passwd(system, user.name) is not None
    if system.has_command("useradd"):
        # Hardened guests have them immutable, and the tools write them anew.
        with system.changeable(_DATABASES):
            system.run(_with_shadow_tools(user, exists), f"adding the user {user.name}")
    else:
        _by_hand(system, user, exists)
    _lock(system, user.name)
    if user.sudo:
        if not system.has_command("sudo"):
            raise PipelineError(
                f"user {user.name} is to have sudo, but the guest has none", hint="add sudo to customize.packages"
            )
        system.write(f"/etc/sudoers.d/90-{user.name}", f"{user.name} ALL=(ALL) NOPASSWD:ALL\n", mode=0o440)


def install_keys(system: GuestSystem, recipe: Recipe) -> int:
    """Put the recipe's public keys where their accounts look for them; return how many.

    Comes after sysprep, which empties the same places.
    """
    keys_by_user = {user.name: list(user.ssh_keys) for user in recipe.customize.users if user.ssh_keys}
    if recipe.customize.ssh_keys:
        admin = recipe.os.admin_user
        if admin is None:
            raise PipelineError("customize.ssh_keys needs os.admin_user, the account that gets them")
        keys_by_user[admin] = [*keys_by_user.get(admin, ()), *recipe.customize.ssh_keys]
    for name, keys in keys_by_user.items():
        _write_keys(system, name, dict.fromkeys(keys))
    return sum(len(keys) for keys in keys_by_user.values())


def _with_shadow_tools(user: User, exists: bool) -> str:
    words = ["usermod"] if exists else ["useradd", "--create-home"]
    if user.full_name:
        words += ["--comment", user.full_name]
    if user.shell:
        words += ["--shell", user.shell]
    if user.groups:
        words += ["--groups", ",".join(user.groups), *(["--append"] if exists else [])]
    return shlex.join([*words, user.name]) if len(words) > 1 else "true"


def _by_hand(system: GuestSystem, user: User, exists: bool) -> None:
    """For guests without the tools: the lines they would write."""
    groups = [line.split(":") for line in system.read("/etc/group").splitlines() if line.count(":") == 3]
    unknown = set(user.groups) - {fields[0] for fields in groups}
    if unknown:
        raise PipelineError(f"the guest has no group {', '.join(sorted(unknown))}")
    if not exists:
        number = _free_number(system)
        home = f"/home/{user.name}"
        entry = (user.name, "x", str(number), str(number), user.full_name, home, user.shell or "/bin/sh")
        _append(system, "/etc/passwd", ":".join(entry))
        _append(system, "/etc/shadow", f"{user.name}:{_NO_PASSWORD}::0:99999:7:::")
        groups.append([user.name, "x", str(number), ""])
        system.handle.mkdir_p(home)
        system.handle.chown(number, number, home)
        system.handle.chmod(0o750, home)
    for fields in groups:
        members = [member for member in fields[3].split(",") if member]
        if fields[0] in user.groups and user.name not in members:
            fields[3] = ",".join([*members, user.name])
    system.write("/etc/group", "".join(f"{':'.join(fields)}\n" for fields in groups))


def _free_number(system: GuestSystem) -> int:
    lines = [*system.read("/etc/passwd").splitlines(), *system.read("/etc/group").splitlines()]
    used = {int(fields[2]) for line in lines if len(fields := line.split(":")) > 2 and fields[2].isdigit()}
    return next(number for number in range(1000, 60000) if number not in used)


def _append(system: GuestSystem, path: str, line: str) -> None:
    system.write(path, f"{system.read(path).rstrip()}\n{line}\n")


def _lock(system: GuestSystem, name: str) -> None:
    """Without a password, and as if that had always been so: the date of the change would tell the build's."""
    lines = []
    for line in system.read("/etc/shadow").splitlines():
        fields = line.split(":")
        if fields[0] == name and len(fields) == 9:
            fields[1:3] = [_NO_PASSWORD, str(EPOCH // 86400)]
        lines.append(":".join(fields))
    system.write("/etc/shadow", "".join(f"{line}\n" for line in lines))


def _write_keys(system: GuestSystem, name: str, keys: Iterable[str]) -> None:
    entry = _passwd(system, name)
    if entry is None:
        raise PipelineError(
            f"the account {name}, which is to get SSH keys, is not in the guest",
            hint="add it to customize.users (cloud-init makes its default user on first boot only)",
        )
    uid, gid, home = int(entry[2]), int(entry[3]), entry[5]
    folder, file = f"{home}/.ssh", f"{home}/.ssh/authorized_keys"
    system.change(home, lambda: system.handle.mkdir_p(folder))
    system.write(file, "".join(f"{key}\n" for key in keys), mode=0o600)
    system.change(folder, lambda: system.handle.chmod(0o700, folder))
    for path in (folder, file):
        system.change(path, functools.partial(system.handle.chown, uid, gid, path))


def _passwd(system: GuestSystem, name: str) -> list[str] | None:
    for line in system.read("/etc/passwd").splitlines():
        fields = line.split(":")
        if fields[0] == name and len(fields) == 7:
            return fields
    return None


def owner_of(system: GuestSystem, user: str, group: str) -> tuple[int, int]:
    """Return the numbers of a user and a group in the guest. Raises ``PipelineError`` for a name it does not know."""
    entry = _passwd(system, user)
    groups = {
        fields[0]: fields[2] for line in system.read("/etc/group").splitlines() if (fields := line.split(":"))[2:]
    }
    if entry is None or group not in groups:
        unknown = f"user {user}" if entry is None else f"group {group}"
        raise PipelineError(f"the guest has no {unknown}")
    return int(entry[2]), int(groups[group])
