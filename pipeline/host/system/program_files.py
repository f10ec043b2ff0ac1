"""Find the files that a program needs to run: itself, the libraries it is linked with, and its own modules."""

from __future__ import annotations

import functools
import re
import shutil
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.host.system import process

# As ldd prints them: "libz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x…)" and "/lib64/ld-linux-x86-64.so.2 (0x…)".
_LIBRARY = re.compile(r"(?:=> |^\s*)(/\S+) \(0x", re.MULTILINE)
# Where distributions keep the block drivers that QEMU loads as modules.
_QEMU_MODULES = ("/usr/lib/x86_64-linux-gnu/qemu", "/usr/lib64/qemu-kvm", "/usr/lib64/qemu", "/usr/lib/qemu")


@functools.cache
def program_files(program: str) -> tuple[Path, ...]:
    """Return the files and folders that ``program``, found on the path, needs. Raises ``PipelineError``."""
    found = shutil.which(program, path=process.environment()["PATH"])
    if found is None:
        raise PipelineError(f"the program {program} is not installed", hint="./inv doctor says which package has it")
    libraries = _LIBRARY.findall(process.run(["ldd", found]).stdout)
    modules = [folder for folder in _QEMU_MODULES if Path(folder).is_dir()] if program.startswith("qemu-") else []
    return tuple(Path(each) for each in dict.fromkeys([found, *libraries, *modules]))
