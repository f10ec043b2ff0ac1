"""Inspect what a disk image is, judged from its bytes while they stream past.

The detection and its safety checks are those of ``oslo_utils.imageutils.format_inspector``, the inspector that
Nova, Cinder and Glance use; parsers of our own (``inspection``) look at the same bytes, and an image is taken if
neither refuses. This module adds what both leave to their callers: a verdict that doesn't depend on how the stream
was cut into blocks, limits on sizes, encrypted, damaged and truncated QCOW2, and fixed VHD, which has nothing but a
trailer. Nothing here opens what an image names, and nothing runs ``qemu-img``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from oslo_utils.imageutils import format_inspector as oslo

from pipeline.image import qcow2, vhd
from pipeline.image.inspection.second_look import TAIL as TAIL
from pipeline.image.inspection.second_look import SecondLook
from pipeline.image.inspection.verdict import FormatLimits as FormatLimits
from pipeline.image.inspection.verdict import FormatVerdict as FormatVerdict
from pipeline.image.inspectors import matches, only_waits_for_the_end
from pipeline.image.packing.kinds import Packing, packing_of
from pipeline.image.refusal import FormatRefused as FormatRefused
from pipeline.image.refusal import RefusalReason as RefusalReason

# Every inspector's header lies within the first mebibyte; fed as one block, no cut of the stream can hide it.
_PREFIX = 1 << 20
_TRAILER = 512
# Kernels for x86 have a boot sector's signature, and this behind it (The Linux/x86 Boot Protocol).
_KERNEL = slice(0x202, 0x206)
_KERNEL_MAGIC = b"HdrS"
_MAGICS = {b"QFI\xfb": "qcow2", b"QED\0": "qed", b"KDMV": "vmdk", b"vhdxfile": "vhdx", b"LUKS\xba\xbe": "luks"}

# Names an image may be declared with for which no inspector exists (Glance's ``disk_formats``).
UNDETECTABLE = frozenset({"ami", "ari", "aki", "ploop"})
DETECTABLE = frozenset(oslo.ALL_FORMATS)


class FormatTap:
    """Watches the bytes of one image go by. Feed every block in order, then ask for the verdict once.

    Memory: at most 2 MiB and what the inspectors keep (bounded by them), whatever the image's size.
    """

    def __init__(self, limits: FormatLimits | None = None) -> None:
        self.limits = limits or FormatLimits()
        self.size = 0
        self._head = bytearray()
        self._tail = b""
        self._fed = False
        self._is_kernel = False
        self._partitioned = False
        self._packing: Packing | None = None
        self._look: SecondLook | None = None
        self._refused: FormatRefused | None = None
        self._watching = [make() for make in oslo.ALL_FORMATS.values() if make is not oslo.RawFileInspector]
        self._broken: dict[oslo.FileInspector, Exception] = {}

    def feed(self, block: bytes) -> None:
        """Take the next block of the stream (any length; 64 KiB and more are fast)."""
        self.size += len(block)
        self._tail = block[-TAIL:] if len(block) >= TAIL else (self._tail + block)[-TAIL:]
        if self._fed:
            if self._look is not None and self.size - len(block) < self._look.waits_until:
                self._look.feed(block, self.size - len(block))
            self._pass_on(block)
            return
        self._head += block
        if len(self._head) >= _PREFIX:
            self._start()

    def skip(self, count: int) -> None:
        """Take ``count`` bytes as gone by unseen. Only once ``decided``, and never the last ``TAIL`` of the stream."""
        self.size += count

    @property
    def decided(self) -> bool:
        """Whether nothing but the stream's last bytes can still change what was detected."""
        if not self._fed or (self._look is not None and self.size < self._look.waits_until):
            return False
        return all(only_waits_for_the_end(inspector) for inspector in self._watching)

    def finish(self, declared: str | None = None, *, require_match: bool = True) -> FormatVerdict:
        """Return the verdict at the end of the stream.

        ``declared``: the disk format the image is said to be in; ``None`` asks for detection only. Anything may be
        declared ``raw`` (its bytes are then the disk), but stays refused when it is unsafe. With
        ``require_match`` false, another format than the declared one is no reason to refuse: ``matches`` of the
        verdict says so. Raises ``FormatRefused``.
        """
        if not self._fed:
            self._start()
        for inspector in self._watching:
            inspector.finish()
        if self._refused is not None:
            raise self._refused
        inspector = self._one_match()
        if declared == "aki" and self._is_kernel and inspector is not None and inspector.NAME == "gpt":
            inspector = None  # code stands where a disk has its partitions
        self._check_safety(inspector)
        if self._look is not None:
            self._look.finish(self._tail, self.size)
        detected = inspector.NAME if inspector else "raw"
        trailer = vhd.fixed_size(self._tail[-_TRAILER:], self.size)
        if trailer is not None and declared != "raw":
            if detected not in ("raw", "gpt"):
                raise FormatRefused(
                    RefusalReason.AMBIGUOUS, f"the image is {detected} and ends like a fixed VHD", detected=detected
                )
            detected = "vhd"
        virtual_size = self._virtual_size(inspector, detected, trailer)
        self._check_limits(detected, virtual_size)
        verdict = FormatVerdict(
            detected,
            virtual_size,
            self.size,
            partitioned=self._partitioned or detected == "gpt",
            packing=self._packing if detected == "raw" else None,
            has_vhd_footer=trailer is not None,
        )
        return self._compare(declared, verdict, require_match)

    def _start(self) -> None:
        self._fed = True
        block, self._head = bytes(self._head), bytearray()
        self._is_kernel = block[_KERNEL] == _KERNEL_MAGIC
        self._packing = packing_of(block)
        try:
            self._look = SecondLook(block)
            self._look.feed(block, 0)
        except FormatRefused as refused:
            self._refused = refused
        if block:
            self._pass_on(block)

    def _pass_on(self, block: bytes) -> None:
        for inspector in list(self._watching):
            try:
                inspector.eat_chunk(block)
            except Exception as error:
                self._broken[inspector] = error
                self._watching.remove(inspector)
                continue
            # Most formats are ruled out by the first block; from then on they cost nothing.
            if inspector.complete and not matches(inspector):
                self._watching.remove(inspector)

    def _one_match(self) -> oslo.FileInspector | None:
        matched = [inspector for inspector in [*self._watching, *self._broken] if matches(inspector)]
        names = {inspector.NAME for inspector in matched}
        if names == {"iso", "gpt"}:
            # A hybrid ISO boots from CD and from USB stick alike; it is an ISO. The partition table's own check stays.
            self._check_safety(next(inspector for inspector in matched if inspector.NAME == "gpt"))
            self._partitioned = True
            return next(inspector for inspector in matched if inspector.NAME == "iso")
        if len(matched) > 1:
            raise FormatRefused(
                RefusalReason.AMBIGUOUS,
                f"the image is in several formats at once: {', '.join(sorted(names))}",
                hint="a disk has one format; convert it with qemu-img from the one you mean",
            )
        if not matched:
            self._refuse_hidden()
            return None
        return matched[0]

    def _refuse_hidden(self) -> None:
        """Refuse a file too short for its inspector, which would pass as raw: its magic says what it pretends to be."""
        for magic, name in _MAGICS.items():
            if self.size < _TRAILER and self._tail.startswith(magic):
                raise FormatRefused(RefusalReason.TRUNCATED, f"the image begins like {name} but ends within its header")

    def _check_safety(self, inspector: oslo.FileInspector | None) -> None:
        if inspector is None:
            return
        name = inspector.NAME
        if inspector in self._broken:
            raise FormatRefused(
                RefusalReason.UNREADABLE, f"the image begins like {name}, but: {self._broken[inspector]}", detected=name
            )
        if not inspector.complete:
            raise FormatRefused(RefusalReason.TRUNCATED, f"the {name} image ends within its header", detected=name)
        try:
            inspector.safety_check()
        except oslo.SafetyCheckFailed as failed:
            failures = {f"{name}.{check}": why for check, why in failed.failures.items()}
            fatal = {check: why for check, why in failures.items() if check not in self.limits.tolerated}
            if fatal:
                reasons = "; ".join(f"{check}: {why}" for check, why in sorted(fatal.items()))
                raise FormatRefused(
                    RefusalReason.UNSAFE,
                    f"the {name} image failed safety checks ({reasons})",
                    detected=name,
                    hint="flatten it: qemu-img convert on a machine that may read everything it names",
                ) from None
        except oslo.ImageFormatError as error:
            raise FormatRefused(RefusalReason.UNREADABLE, f"the {name} image: {error}", detected=name) from None

    def _virtual_size(self, inspector: oslo.FileInspector | None, detected: str, trailer: int | None) -> int:
        if inspector is None or inspector.NAME == "gpt":
            return trailer if trailer is not None and detected == "vhd" else self.size
        if inspector.NAME == "qcow2":
            self._check_qcow2(bytes(inspector.region("header").data))
        if self._look is not None and (size := self._look.virtual_size) is not None:
            return size
        try:
            return int(inspector.virtual_size)
        except Exception as error:  # the inspector's parsers raise whatever struct, dict and str raise
            raise FormatRefused(
                RefusalReason.UNREADABLE, f"the {detected} image's size cannot be read: {error!r}", detected=detected
            ) from None

    def _check_qcow2(self, header: bytes) -> None:
        facts = qcow2.Qcow2Header.parse(header)
        trouble = facts.damage()
        if trouble:
            raise FormatRefused(
                RefusalReason.DAMAGED,
                f"the qcow2 image {trouble}",
                detected="qcow2",
                hint="qemu-img check -r all FILE, then convert it afresh",
            )
        if facts.end_of_tables > self.size:
            raise FormatRefused(
                RefusalReason.TRUNCATED,
                f"the qcow2 image's tables end at byte {facts.end_of_tables}, the file at byte {self.size}",
                detected="qcow2",
            )
        if facts.encrypted and not self.limits.allow_encrypted:
            raise FormatRefused(
                RefusalReason.ENCRYPTED,
                "the qcow2 image is encrypted",
                detected="qcow2",
                hint="convert it without encryption",
            )

    def _check_limits(self, detected: str, virtual_size: int) -> None:
        limits = self.limits
        if virtual_size > limits.max_virtual_size:
            raise FormatRefused(
                RefusalReason.TOO_LARGE,
                f"the {detected} image claims a disk of {virtual_size} bytes; the limit is {limits.max_virtual_size}",
                detected=detected,
            )
        if virtual_size > limits.ratio_from and virtual_size > limits.max_ratio * self.size:
            raise FormatRefused(
                RefusalReason.TOO_LARGE,
                f"the {detected} image claims a disk of {virtual_size} bytes in a file of {self.size}: "
                f"more than {limits.max_ratio} to 1",
                detected=detected,
            )

    def _compare(self, declared: str | None, verdict: FormatVerdict, require_match: bool) -> FormatVerdict:
        if declared is None or declared in (verdict.format, verdict.disk_format):
            if declared == "raw":
                self._check_raw(verdict)
            return verdict
        if declared == "raw":
            self._check_raw(verdict)
            # Bytes labelled raw are the disk, whatever they contain (a QCOW2 for nested use, say).
            return replace(verdict, virtual_size=self.size)
        if declared in UNDETECTABLE and verdict.format == "raw":
            return FormatVerdict(verdict.format, None, self.size)
        if not require_match:
            return replace(verdict, matches=False)
        raise FormatRefused(
            RefusalReason.MISMATCH,
            f"the image was declared {declared}, its content is {verdict.content}",
            detected=verdict.format,
            hint=verdict.advice,
        )

    def _check_raw(self, verdict: FormatVerdict) -> None:
        if verdict.is_raw or not (self.limits.raw_must_be_raw or self.limits.lacks(verdict.content)):
            return
        raise FormatRefused(
            RefusalReason.MISMATCH,
            f"the image was declared raw, its content is {verdict.content}",
            detected=verdict.format,
            hint=verdict.advice,
        )


def inspect(
    path: Path, declared: str | None = None, *, limits: FormatLimits | None = None, skip_middle: bool = True
) -> FormatVerdict:
    """Judge a file on disk.

    With ``skip_middle`` only what the verdict needs is read: the beginning, until every inspector has decided, and
    the end. Raises ``FormatRefused``, ``OSError``.
    """
    tap = FormatTap(limits)
    with path.open("rb") as file:
        for block in _blocks(file.read, path.stat().st_size, tap, file.seek if skip_middle else None):
            tap.feed(block)
    return tap.finish(declared)


def _blocks(
    read: Callable[[int], bytes], size: int, tap: FormatTap, seek: Callable[[int], int] | None
) -> Iterator[bytes]:
    while block := read(_PREFIX):
        yield block
        left = size - tap.size
        if seek is not None and tap.decided and left > _PREFIX:
            seek(size - _PREFIX)
            tap.skip(left - _PREFIX)
            seek = None
