"""Run one benchmark: ``python -m benchmarks NAME [--json FILE] [OPTIONS]``, which is what ``./inv bench`` becomes."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks import figures

NAMES: Mapping[str, str] = {
    "enterprise_linux": "Enterprise Linux from its media",
    "guest_files": "files out of an image",
    "key_changes": "how often steps' keys changed with the code",
    "imageservice.imports": "imports beside their parts done alone",
    "imageservice.metadata": "small requests",
    "imageservice.metadefs": "lists of metadata definitions",
    "imageservice.transfers": "uploads and downloads",
    "imageservice.strangers": "what one project can do to another",
    "packer": "tiny, by us and by packer",
    "rebuild": "what a small change costs",
    "signing": "signing beside mere hashing",
    "stores.compare": "a store beside the reference's driver",
}


def main() -> int:
    """Run it with the options that follow its name; its exit status, 1 when a limit was missed."""
    name, *rest = sys.argv[1:]
    target = Path(rest.pop(1)) if rest[:1] == ["--json"] else None
    rest = rest[1:] if target else rest
    load = os.getloadavg()
    module = importlib.import_module(f"benchmarks.{name}")
    sys.argv = [f"./inv bench {name}", *rest]
    try:
        status = int(module.main() or 0)
    except SystemExit as end:
        status = int(end.code) if isinstance(end.code, int) else int(end.code is not None)
    if target is not None:
        target.write_text(json.dumps(figures.document(name, rest, status, load), indent=2, ensure_ascii=False) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
