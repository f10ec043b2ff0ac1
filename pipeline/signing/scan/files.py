"""Scan one file's bytes: its needles, its path, and what is packed in it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from pipeline.signing.scan import paths, unpack
from pipeline.signing.scan.findings import ScanFinding, digest
from pipeline.signing.scan.needles import Hit, Needle, Searcher

_HEAD = 1 << 20


class FileScan:
    """One file of the guest, fed block by block. ``file_system`` tells where it is, if not in the guest's own tree."""

    def __init__(
        self,
        path: str,
        needles: Sequence[Needle],
        expected_keys: frozenset[str] = frozenset(),
        *,
        file_system: str = "",
    ) -> None:
        self.inside = path
        self.path = f"{file_system}{path}"
        self.hits: list[Hit] = []
        self.not_covered: list[str] = []
        self._needles = needles
        self._expected_keys = expected_keys
        self._content = _Content(self.path, needles, 0)
        self._head = bytearray()
        self._hash = hashlib.sha256()

    def feed(self, block: bytes) -> None:
        """Take the next block."""
        if len(self._head) < _HEAD:
            self._head += block[: _HEAD - len(self._head)]
        self._hash.update(block)
        self._content.feed(block)

    @property
    def sha256(self) -> str:
        """The digest of what was fed."""
        return self._hash.hexdigest()

    def finish(self) -> list[ScanFinding]:
        """Return everything found, once the file has ended. ``hits`` then has what its content matched."""
        self._content.finish()
        self.hits = [hit for _, hit in self._content.found]
        self.not_covered = self._content.not_covered
        return [*self._by_content(), *self._by_path()]

    def _by_content(self) -> Iterator[ScanFinding]:
        # The same secret many times over in one file is one finding.
        places: dict[tuple[str, Needle, bytes], list[int]] = {}
        for path, hit in self._content.found:
            places.setdefault((path, hit.needle, hit.text), []).append(hit.offset)
        for (path, needle, text), offsets in places.items():
            times = f", {len(offsets)} times" if len(offsets) > 1 else ""
            detail = f"{needle.what} at byte {offsets[0]}{times}"
            yield ScanFinding(path, needle.rule, detail, needle.fix, digest(text))

    def _by_path(self) -> Iterator[ScanFinding]:
        head = bytes(self._head)
        for rule in paths.matching(self.inside):
            detail = rule.condition(head)
            if detail:
                yield ScanFinding(self.path, rule.name, detail, rule.fix, self.sha256)
        strange = paths.unexpected_keys(self.inside, head, self._expected_keys)
        if strange:
            fix = "name them in the recipe (customize.ssh_keys), or remove them"
            yield ScanFinding(self.path, paths.AUTHORIZED_KEYS, strange, fix, self.sha256)


class _Content:
    """The bytes of a file or of a layer packed in it."""

    def __init__(self, path: str, needles: Sequence[Needle], depth: int) -> None:
        self.path = path
        self.found: list[tuple[str, Hit]] = []
        self.not_covered: list[str] = []
        self._needles = needles
        self._depth = depth
        self._searcher = Searcher(needles)
        self._begun = False
        self._layer: unpack.Layer | None = None
        self._inner: _Content | None = None

    def feed(self, block: bytes) -> None:
        if not block:
            return
        if not self._begun:
            self._begun = True
            self._layer = unpack.recognise(block)
            if self._layer is not None and self._depth < unpack.MAX_DEPTH:
                self._inner = _Content(f"{self.path}!{self._layer.name}", self._needles, self._depth + 1)
        self.found += [(self.path, hit) for hit in self._searcher.feed(block)]
        if self._layer is not None and self._inner is not None:
            for piece in self._layer.feed(block):
                self._inner.feed(piece)

    def finish(self) -> None:
        self.found += [(self.path, hit) for hit in self._searcher.finish()]
        if self._inner is not None and self._layer is not None:
            self._inner.finish()
            self.found += self._inner.found
            self.not_covered += self._inner.not_covered
            if self._layer.overflow:
                self.not_covered.append(f"{self._inner.path}: more than {unpack.MAX_OUT >> 30} GiB come out of it")
