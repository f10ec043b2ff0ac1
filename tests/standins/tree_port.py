"""An appliance's shell, and its port for files, played by this machine: commands run as they are, on a folder here."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
from pathlib import Path

PIECE = 32 << 10


class TreePort:
    """Of libguestfs's calls the one for commands, and the socket that QEMU would listen on.

    ``tar`` is a shell script to be run instead of the machine's, which it finds as ``$TAR``; ``groups`` are the process
    groups that were started. The socket goes when the guest's last word was sent, as with an appliance that dies.
    """

    def __init__(self, scratch: Path, root: Path, tar: str = 'exec "$TAR" "$@"') -> None:
        self.groups: list[int] = []
        self._own = scratch / "appliance"
        self._own.mkdir()
        self._root = root
        self._pipe = self._own / "port"
        os.mkfifo(self._pipe)
        found = subprocess.run(
            ["sh", "-c", "command -v tar"], capture_output=True, text=True, check=True
        ).stdout.strip()
        program = self._own / "tar"
        program.write_text(f"#!/bin/sh\nTAR={found}\n{tar}\n")
        program.chmod(0o755)
        folder = os.open(scratch, os.O_PATH)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"/proc/self/fd/{folder}/tree.sock")
        os.close(folder)
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def debug(self, subcommand: str, words: list[str]) -> str:
        """Run a command of ``debug sh``."""
        here = {"/dev/virtio-ports/tree": str(self._pipe), "/sysroot": str(self._root), "/tmp/": f"{self._own}/"}
        command = re.sub("|".join(here), lambda found: here[found[0]], words[0])
        environment = {**os.environ, "PATH": f"{self._own}:{os.environ['PATH']}"}
        # It waits, as the appliance's first process does, so that nothing that ended is still to be seen.
        words = ["sh", "-c", f"{command}\nwait"]
        shell = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)
        assert shell.stdout is not None
        said = shell.stdout.readline()
        if said:
            self.groups.append(int(said))
            threading.Thread(target=shell.wait, daemon=True).start()
        elif shell.wait():
            raise RuntimeError(f"debug: the command ended with {shell.returncode}")
        return said

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection, self._pipe.open("rb") as guest:
                try:
                    while piece := guest.read(PIECE):
                        connection.sendall(piece)
                except ConnectionError:
                    pass  # who reads has gone
