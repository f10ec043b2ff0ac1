"""Join our own parsers: what they need of a stream while it passes, and their verdict at its end."""

from __future__ import annotations

from pipeline.image.inspection import parents, vmdk
from pipeline.image.refusal import FormatRefused, RefusalReason

TAIL = vmdk.FOOTER_BYTES
_VHD, _VHDX, _VDI = b"conectix", b"vhdxfile", b"\x7f\x10\xda\xbe"


class SecondLook:
    """One image. ``head`` is the stream's first MiB, or all of it; it is kept only where a format needs it.

    Raises ``FormatRefused`` where the head is enough to refuse.
    """

    def __init__(self, head: bytes) -> None:
        if vmdk.other_kind(head):
            raise FormatRefused(
                RefusalReason.UNSAFE,
                "the image is a vmdk description, which names other files as the disk's content",
                detected="vmdk",
                hint="convert the whole set of files: qemu-img convert -O vmdk -o subformat=streamOptimized",
            )
        self._is_vmdk = head.startswith(vmdk.MAGIC)
        self._is_vhd, self._is_vhdx = head.startswith(_VHD), head.startswith(_VHDX)
        self._is_vdi = head[64:68] == _VDI
        self._head = head if self._is_vmdk or self._is_vhd else head[:512] if self._is_vdi else b""
        self._range = range(0)
        self._metadata = bytearray()
        if self._is_vhdx and len(head) >= 512 << 10:
            parents.refuse_vhdx_changes(head)
            start = parents.vhdx_metadata_offset(head)
            self._range = range(start, start + parents.VHDX_METADATA_BYTES)

    @property
    def virtual_size(self) -> int | None:
        """The disk's bytes, where the library takes them from another field than those who open the image."""
        if self._is_vmdk:
            return vmdk.SECTOR * vmdk.VmdkHeader.parse(self._head[: vmdk.SECTOR]).capacity
        # The library takes a VHD's original size; after it was resized, the current one counts.
        return int.from_bytes(self._head[48:56]) if self._is_vhd else None

    @property
    def waits_until(self) -> int:
        """The offset in bytes up to which the stream has to be shown, whatever else is known of it."""
        return self._range.stop

    def feed(self, block: bytes, at: int) -> None:
        """See the bytes at the offset ``at`` of the stream, in order."""
        start = max(self._range.start + len(self._metadata), at)
        if start < min(self._range.stop, at + len(block)):
            self._metadata += block[start - at : self._range.stop - at]

    def finish(self, tail: bytes, size: int) -> None:
        """Judge at the end. ``tail``: the last ``TAIL`` bytes, or all. Raises ``FormatRefused``."""
        if self._is_vmdk:
            vmdk.judge(self._head, tail, size)
        elif self._is_vhd:
            parents.refuse_vhd(self._head, tail)
        elif self._is_vdi:
            parents.refuse_vdi(self._head)
        elif self._is_vhdx:
            parents.refuse_vhdx(bytes(self._metadata))
