"""Scan the decoded disk itself: what deleted files left in free space, between partitions, in slack."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from pipeline.base.progress import Progress, nothing
from pipeline.image.sparse import extents
from pipeline.signing.scan.findings import FREE_SPACE, ScanFinding, digest
from pipeline.signing.scan.needles import Hit, Needle, Searcher

_BLOCK = 4 << 20


def scan(
    raw: Path, needles: Sequence[Needle], known: Collection[str], *, progress: Progress = nothing
) -> tuple[list[ScanFinding], int]:
    """Search a raw disk; return the findings and how many bytes held data.

    ``known`` are the digests of what live files matched: the same bytes on the disk are those files, and told already.
    """
    searcher = Searcher(needles)
    found: dict[str, ScanFinding] = {}
    data = 0
    total = raw.stat().st_size

    def note(hits: Iterator[Hit]) -> None:
        for hit in hits:
            mark = digest(hit.text)
            if mark not in known and mark not in found:
                what = f"{hit.needle.what} at byte {hit.offset} of the disk, in no file that is there"
                found[mark] = ScanFinding(FREE_SPACE, hit.needle.rule, what, "scrub free space (sysprep.scrub)", mark)

    with raw.open("rb", buffering=0) as file:
        at = 0
        for start, end in extents(file.fileno(), total):
            note(searcher.skip(start - at))
            file.seek(start)
            at = start
            while at < end and (block := file.read(min(_BLOCK, end - at))):
                note(searcher.feed(block))
                at += len(block)
                data += len(block)
                progress.advance(at, total)
    note(searcher.finish())
    return list(found.values()), data
