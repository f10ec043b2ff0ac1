"""Read what is in a Windows image file (WIM) from its own index, without unpacking anything.

The format is that of Microsoft's "Windows Imaging File Format (WIM)" white paper (2007): a header of 208 bytes names
where an XML document in UTF-16 lies.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import IO
from xml.etree import ElementTree

from pipeline.base.errors import PipelineError

_MAGIC = b"MSWIM\0\0\0"
_XML_AT = 72
_LARGEST = 16 << 20
_ARCHITECTURES = {"0": "x86", "5": "arm", "9": "x86_64", "12": "aarch64"}


@dataclass(frozen=True)
class WimImage:
    """One image in the file. ``languages`` has the default one first; ``build`` is 0 where it is not told."""

    index: int
    name: str
    architecture: str
    build: int
    languages: tuple[str, ...]


def read(file: IO[bytes], of: str) -> list[WimImage]:
    """Return the images in an opened WIM. Raises ``PipelineError`` when ``of`` is none."""
    header = file.read(208)
    if len(header) < 208 or not header.startswith(_MAGIC):
        raise PipelineError(f"{of} is no Windows image file")
    packed, offset, size = struct.unpack_from("<QQQ", header, _XML_AT)
    if packed >> 56 & 0x04 or size > _LARGEST:
        raise PipelineError(f"{of}: its index cannot be read")
    file.seek(offset)
    text = file.read(size)
    if len(text) < size:
        raise PipelineError(f"{of} ends before its index: it was not copied whole")
    try:
        document = text.decode("utf-16")
        if "<!" in document:
            raise ValueError("it has a document type")
        root = ElementTree.fromstring(document)  # noqa: S314 - without a document type there are no entities
    except (ElementTree.ParseError, ValueError) as error:
        raise PipelineError(f"{of}: its index cannot be read: {error}") from None
    return [_image(element) for element in root.iter("IMAGE")]


def _image(element: ElementTree.Element) -> WimImage:
    windows = element.find("WINDOWS")
    found = {
        name: (windows.findtext(path) or "").strip() if windows is not None else ""
        for name, path in (("arch", "ARCH"), ("build", "VERSION/BUILD"), ("default", "LANGUAGES/DEFAULT"))
    }
    others = [each.text or "" for each in element.iterfind("WINDOWS/LANGUAGES/LANGUAGE")]
    index = element.get("INDEX", "0")
    return WimImage(
        index=int(index) if index.isdigit() else 0,
        name=(element.findtext("NAME") or "").strip(),
        architecture=_ARCHITECTURES.get(found["arch"], "unknown"),
        build=int(found["build"]) if found["build"].isdigit() else 0,
        languages=tuple(dict.fromkeys(each for each in (found["default"], *others) if each)),
    )
