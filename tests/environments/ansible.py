"""Ansible with the collection ``openstack.cloud``, as people run it: playbooks, apart from our own environment."""

from __future__ import annotations

import fcntl
import json
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.base.home import CHECKOUT
from pipeline.host.system import process
from tests.environments.venv import Environment, environment, pip_settings

_COLLECTION = "ansible_collections/openstack/cloud/"


@dataclass(frozen=True)
class Ansible:
    """Its environment, and the folder of its collections."""

    environment: Environment
    collections: Path

    def play(self, tasks: Sequence[Mapping[str, Any]], folder: Path) -> list[dict[str, Any]]:
        """Run tasks on this machine, whether one fails or not; what each came to. ``folder`` is for its files."""
        named = [{**task, "register": f"r{number}", "ignore_errors": True} for number, task in enumerate(tasks)]
        results = ", ".join(f"r{number}" for number in range(len(named)))
        keep = {
            "ansible.builtin.copy": {"content": f"{{{{ [{results}] | to_json }}}}", "dest": str(folder / "results")}
        }
        python = {"ansible_connection": "local", "ansible_python_interpreter": str(self.environment.python)}
        book = [{"hosts": "localhost", "gather_facts": False, "vars": python, "tasks": [*named, keep]}]
        (folder / "book.yaml").write_text(json.dumps(book))
        env = {
            "HOME": str(folder),
            "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
        }
        process.run([self.environment.program("ansible-playbook"), folder / "book.yaml"], env=env, timeout=800)
        found: list[dict[str, Any]] = json.loads((folder / "results").read_text())
        return found


def ansible() -> Ansible:
    """Ansible, made now unless an earlier run did. Raises ``ProcessFailed`` as ``environment``."""
    made = environment("ansible")
    lock = CHECKOUT / "requirements" / "env-ansible-collections.txt"
    folder = made.folder / "collections" / lock.read_text().split()[0]
    with (made.folder / "collections.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not folder.exists():
            _unpack(made, lock, folder)
    return Ansible(made, folder)


def _unpack(made: Environment, lock: Path, folder: Path) -> None:
    """The distribution has half a GiB of collections; one is enough."""
    scratch = folder.with_name("new")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    words: list[str | Path] = [made.program("pip"), "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    process.run([*words, "--no-deps", "--require-hashes", "-r", lock, "-d", scratch], env=pip_settings(), timeout=900)
    [wheel] = scratch.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(scratch, [name for name in archive.namelist() if name.startswith(_COLLECTION)])
    wheel.unlink()
    scratch.rename(folder)
