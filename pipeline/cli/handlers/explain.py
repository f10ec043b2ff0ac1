"""Carry out ``./inv explain``: say why two images differ."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pipeline.base.home import Home
from pipeline.base.plain_text import one_line
from pipeline.cli.task import Exit
from pipeline.engine.cache.store import CacheStore
from pipeline.engine.plan import explain as engine
from pipeline.engine.plan.explain import ComparedImage, ImageDifference
from pipeline.host.guestfs import manifest
from pipeline.host.guestfs.appliance import Appliance
from pipeline.host.qemu import accelerator

_SHOWN = 40


def explain(one: str, other: str, *, as_json: bool = False) -> None:
    """Compare two images; end with status 1 when their contents differ."""
    home = Home.default()
    first, second = engine.find(home, one), engine.find(home, other)
    same = first.sha256 == second.sha256
    made = engine.made_from(CacheStore.open(home.cache), first, second)
    if same:
        difference = ImageDifference(same_bytes=True, made=made)
    else:
        manifests = [_read(home, image) for image in (first, second)]
        difference = engine.contents(*manifests, same_bytes=False, made=made)
    if as_json:
        print(json.dumps({**asdict(difference), "same_contents": difference.same_contents}, indent=2))
    else:
        _show(difference, comparable=first.format == second.format)
    if not difference.same_contents:
        raise SystemExit(Exit.FAILED)


def _read(home: Home, image: ComparedImage) -> manifest.Manifest:
    with tempfile.TemporaryDirectory(prefix="pipeline-explain-") as folder, (Path(folder) / "log").open("wb") as log:
        appliance = Appliance(accelerator.probe(home).name, home.cache / "appliance", Path(folder), log)
        return manifest.read(image.path, image.format, appliance)


def _show(difference: ImageDifference, *, comparable: bool) -> None:
    if difference.same_bytes:
        print("the same bytes")
    elif difference.same_contents:
        times = f" (apart from the times of {difference.only_times} paths)" if difference.only_times else ""
        print(f"other bytes, the same contents{times}")
    if difference.made is None:
        print("the cache does not know how both were made")
    elif difference.made:
        _show_lines("made from other inputs:", difference.made)
    elif comparable and not difference.same_bytes:
        print("made from the same inputs: something in a step is left to chance or to the clock")
    _show_lines("the disks differ:", difference.disk)
    _show_lines("only in the second:", difference.added)
    _show_lines("only in the first:", difference.removed)
    _show_lines("different in both:", difference.changed)


def _show_lines(title: str, lines: Sequence[str]) -> None:
    if lines:
        print(title)
        for line in lines[:_SHOWN]:
            print(one_line(f"  {line}"))
        if len(lines) > _SHOWN:
            print(f"  … and {len(lines) - _SHOWN} more (--json shows all)")
