"""A small server around the reference's library of stores, run by the interpreter of that library's own environment.

Its one argument is a configuration file with the single store ``oracle``. Each line on standard input is a request as
JSON, each line on standard output its answer.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from glance_store import multi_backend
from oslo_config import cfg

STORE = "oracle"


def main() -> None:
    """Answer requests until standard input ends."""
    conf = cfg.CONF
    conf.register_opts([cfg.DictOpt("enabled_backends")])
    conf(["--config-file", sys.argv[1]], project="oracle")
    multi_backend.register_store_opts(conf)
    multi_backend.create_multi_stores(conf)
    for line in sys.stdin:
        request = json.loads(line)
        begun = time.perf_counter()
        try:
            answer: dict[str, Any] = _ACTIONS[request.pop("do")](**request)
        except Exception as error:  # whatever it is, the other side has to hear of it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps({**answer, "seconds": time.perf_counter() - begun}), flush=True)


def _add(image: str, file: str, size: int) -> dict[str, Any]:
    with Path(file).open("rb") as data:
        uri, size, checksum, digest, _ = multi_backend.add_with_multihash(cfg.CONF, image, data, size, STORE, "sha512")
    return {"uri": uri, "size": size, "checksum": checksum, "digest": digest}


def _get(uri: str, file: str | None) -> dict[str, Any]:
    chunks, size = multi_backend.get(uri, STORE)
    if file is None:
        return {"size": sum(len(chunk) for chunk in chunks)}
    with Path(file).open("wb") as data:
        for chunk in chunks:
            data.write(chunk)
    return {"size": size}


def _delete(uri: str) -> dict[str, Any]:
    multi_backend.delete(uri, STORE)
    return {}


_ACTIONS: dict[str, Callable[..., dict[str, Any]]] = {"add": _add, "get": _get, "delete": _delete}

if __name__ == "__main__":
    main()
