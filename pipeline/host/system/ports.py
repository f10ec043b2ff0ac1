"""Find who listens on a TCP port of this machine, from proc_pid_net(5) and proc_pid_fd(5)."""

from __future__ import annotations

from pathlib import Path

_LISTEN = "0A"


def listener(port: int) -> str | None:
    """Return the program that listens on ``port``, as ``nginx (process 812)``; ``None`` if nobody that we may see
    does.
    """
    sockets = {
        f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _listening(Path("/proc/net") / table, port)
    }
    for folder in Path("/proc").glob("[0-9]*") if sockets else ():
        try:
            if any(str(link.readlink()) in sockets for link in (folder / "fd").iterdir()):
                return f"{(folder / 'comm').read_text().strip()} (process {folder.name})"
        except OSError:
            # Ended meanwhile, or somebody else's.
            continue
    return None


def _listening(table: Path, port: int) -> list[str]:
    rows = [line.split() for line in table.read_text().splitlines()[1:]] if table.exists() else []
    return [row[9] for row in rows if row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port]
