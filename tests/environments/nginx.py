"""nginx in front of what a test serves."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tests.environments.daemon import daemon, listens, program, scratch

_CONF = """
{user}
daemon off;
worker_processes 2;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{http}
}}
"""


@contextlib.contextmanager
def nginx(http: str, *, port: int) -> Iterator[None]:
    """Run nginx with ``http`` as the inside of its http block, until it listens on ``port``; it ends with the block."""
    command = program("nginx", "nginx-light")
    with scratch("nginx") as folder:
        # Root's workers stay root, since pytest closes its folders to everybody else.
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(_CONF.format(user=user, folder=folder, http=http))
        words: list[str | Path] = [command, "-c", folder / "nginx.conf", "-p", folder, "-e", folder / "error.log"]
        with daemon(words, ready=lambda: listens(port), log=folder / "log"):
            yield
