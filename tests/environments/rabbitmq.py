"""The message broker that clouds use, as a private server on loopback that ends with the block."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.environments.daemon import as_nobody, daemon, free_port, listens, program, scratch

# Not the one on the search path: that drops root's rights to a user of the distribution's and keeps to its folders.
_PLACES = [Path("/usr/lib/rabbitmq/bin"), Path("/usr/lib64/rabbitmq/bin")]


@contextlib.contextmanager
def rabbitmq() -> Iterator[str]:
    """The ``rabbit://`` URL of a broker; ready in some five seconds."""
    server = program("rabbitmq-server", "rabbitmq-server", folders=_PLACES)
    names = program("epmd", "erlang-base")
    with scratch("rabbitmq") as folder:
        port, names_port = free_port(), free_port()
        user = as_nobody(folder)
        (folder / "rabbitmq.conf").touch()
        env = {
            "HOME": str(folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(names_port),
            "RABBITMQ_NODENAME": f"test{port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        }
        # The broker would start a directory of its own accord that outlives it.
        directory = daemon(
            [*user, names, "-port", str(names_port), "-address", "127.0.0.1"],
            ready=lambda: listens(names_port),
            log=folder / "epmd.log",
            env=env,
        )
        with directory, daemon([*user, server], ready=lambda: listens(port), log=folder / "out.log", env=env):
            yield f"rabbit://guest:guest@127.0.0.1:{port}/"
