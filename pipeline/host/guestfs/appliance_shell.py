"""Run the appliance's own programs, and fetch what they say as bytes: names and contents in an image need not be UTF-8.

libguestfs returns texts, of at most one message (4 MiB). So output goes to the appliance's own file system in memory
first, is bounded there, and comes in pieces.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.base.errors import PipelineError

# The appliance's file system in memory: a fifth of its memory.
MEMORY = "/run"
_OUTPUT = f"{MEMORY}/output"
# Of an image's bytes; in base64 less than a message.
PIECE = 2 << 20
_MOST = 64 << 20
_SHOWN = 20
_RUN = """rm -rf {out}; mkdir {out}
{{ ( {script}
) 2>{out}/stderr; echo $? >{out}/status; }} | {{ head -c {limit} >{out}/kept; wc -c >{out}/rest; }}
echo $(cat {out}/status) $(stat -c %s {out}/kept) $(cat {out}/rest)
head -c 4096 {out}/stderr | base64 -w0; echo
head -c {piece} {out}/kept | base64 -w0"""


def read(handle: Any, script: str, *, most: int = _MOST) -> bytes:
    """Run a shell script of the appliance; return what it printed.

    Raises ``PipelineError`` when it fails, with its words, and when it prints more than ``most`` bytes.
    """
    reply = str(handle.debug("sh", [_RUN.format(script=script, out=_OUTPUT, limit=most, piece=PIECE)]))
    head, words, data = [*reply.split("\n"), "", ""][:3]
    status, size, rest = (int(word) for word in head.split())
    if status != 0:
        lines = decoded(words).decode(errors="replace").splitlines()
        raise PipelineError(f"the appliance's work ended with status {status}", details=[script, *lines[-_SHOWN:]])
    if rest:
        raise PipelineError(f"the appliance says more than {most >> 20} MiB, by {rest} bytes", details=[script])
    return decoded(data) + pieces(handle, f"{_OUTPUT}/kept", PIECE, size)


def pieces(handle: Any, file: str, start: int, size: int) -> bytes:
    """Return the bytes of a file in the appliance's memory from ``start`` to ``size``."""
    command = "tail -c +{} {} | head -c {} | base64 -w0"
    return b"".join(
        decoded(str(handle.debug("sh", [command.format(at + 1, file, min(PIECE, size - at))])))
        for at in range(start, size, PIECE)
    )


def put(handle: Any, name: str, data: bytes) -> str:
    """Put a file into the appliance's memory; return its path there."""
    path = f"{MEMORY}/{name}"
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(data)
        handle.debug_upload(file.name, path, 0o600)
    return path


def put_names(handle: Any, names: Iterable[str]) -> str:
    """Put a list of names for ``xargs -0`` into the appliance's memory; return its path there."""
    return put(handle, "names", b"".join(name.encode(errors="surrogateescape") + b"\0" for name in names))


def decoded(text: str) -> bytes:
    """Return the bytes that stand in base64."""
    return base64.b64decode(text.strip())
