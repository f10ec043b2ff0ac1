"""Download files whose digest is known: resumed where they broke, from whichever mirror answers.

A file is kept under its digest, so that it is fetched once; what was fetched of it survives a killed run. Since the
digest decides, any mirror may continue what another one began, and a page that says "not found" is never taken for it.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

from pipeline.base import locks, retry
from pipeline.base.errors import PipelineError
from pipeline.base.progress import Progress, nothing
from pipeline.base.urls import without_secrets
from pipeline.host.network import error_text

if TYPE_CHECKING:
    import requests

_CONNECT, _SILENCE = 20, 60  # seconds
_RETRIES = retry.RetryPolicy(attempts=4, first=1.0, heed=60.0)
_BLOCK = 128 << 10
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True)
class Pin:
    """What a file must be: its sha256, further digests by the name of their hash, its ``size`` in bytes if known.

    Where its maker publishes no sha256, one of the ``others`` must be as strong.
    """

    sha256: str | None
    others: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None

    def __post_init__(self) -> None:
        if not self.sha256 and not set(self.others) & {"sha384", "sha512"}:
            raise ValueError("a file is pinned by its sha256, sha384 or sha512")

    @property
    def digests(self) -> dict[str, str]:
        """All digests, by the name of their hash."""
        return {**({"sha256": self.sha256} if self.sha256 else {}), **self.others}

    @property
    def name(self) -> str:
        """What the file is kept under: its strongest digest here, sha256 where it is known."""
        return self.sha256 or next(self.others[name] for name in ("sha512", "sha384") if name in self.others)

    def problem(self, file: Path) -> str | None:
        """Return what is wrong with ``file``, in words, or ``None``."""
        if self.size is not None and file.stat().st_size != self.size:
            return f"has {file.stat().st_size} bytes instead of {self.size}"
        hashes = {name: hashlib.new(name, usedforsecurity=False) for name in self.digests}
        with file.open("rb") as opened:
            while block := opened.read(_BLOCK):
                for each in hashes.values():
                    each.update(block)
        for name, expected in self.digests.items():
            if hashes[name].hexdigest() != expected.lower():
                return f"has {name} {hashes[name].hexdigest()} instead of {expected}"
        return None


def fetch(urls: Sequence[str], pin: Pin, folder: Path, *, progress: Progress = nothing, offline: bool = False) -> Path:
    """Return the file that ``pin`` names, from ``folder`` if it is there, else from the first of ``urls`` that has it.

    Raises ``PipelineError`` that says of every mirror why it was of no use.
    """
    target = folder / pin.name
    if target.is_file():
        return target
    if offline:
        raise PipelineError(
            f"{_file_name(urls[0])} is not in the cache, and the network is not to be used", hint="leave out --offline"
        )
    folder.mkdir(parents=True, exist_ok=True)
    reasons = []
    purpose = f"fetching {_file_name(urls[0])}"
    with locks.held(folder / f"{pin.name}.lock", purpose, wait=math.inf, progress=progress):
        if target.is_file():  # another run was faster
            return target
        part = folder / f"{pin.name}.part"
        for url in urls:
            try:
                _fetch_from(url, part, pin, progress)
            except PipelineError as error:
                reasons.append(f"{without_secrets(url)}: {error.message}")
                continue
            os.chmod(part, 0o444)  # noqa: PTH101
            part.replace(target)
            return target
    raise PipelineError(
        f"{_file_name(urls[0])} cannot be fetched",
        details=reasons,
        hint="check the network and the addresses in the recipe, or give the file with --source FILE",
    )


def fetch_small(urls: Sequence[str], *, limit: int) -> bytes:
    """Return the content of a file nobody knows a digest of, up to ``limit`` bytes, from the first of ``urls`` that
    has it.

    The caller has to find out whether it is the right one. Raises ``PipelineError`` like ``fetch``.
    """
    import requests

    reasons = []
    for url in urls:
        try:
            content = _RETRIES.call(partial(_read_small, url, limit), lambda error: not _is_final(error))
        except (requests.RequestException, OSError) as error:
            reasons.append(f"{without_secrets(url)}: {_reason(error)}")
            continue
        if len(content) <= limit:
            return content
        reasons.append(f"{without_secrets(url)}: the file has more than {limit} bytes")
    raise PipelineError(f"{_file_name(urls[0])} cannot be fetched", details=reasons, hint="check the network")


def _read_small(url: str, limit: int) -> bytes:
    """Up to one byte more than ``limit``."""
    import requests

    with requests.get(url, stream=True, timeout=(_CONNECT, _SILENCE)) as answer:
        answer.raise_for_status()
        return bytes(answer.raw.read(limit + 1, decode_content=True))


def _fetch_from(url: str, part: Path, pin: Pin, progress: Progress) -> None:
    """Fetch what is missing of ``part`` and check the whole. Raises ``PipelineError`` when this mirror won't do."""
    resumed = part.exists() and part.stat().st_size > 0
    _complete(url, part, pin, progress)
    problem = pin.problem(part)
    if problem and resumed:
        # What an earlier run left may have been wrong: this mirror gets its chance from the start.
        part.unlink()
        _complete(url, part, pin, progress)
        problem = pin.problem(part)
    if problem:
        part.unlink()
        raise PipelineError(f"the file {problem}")


def _complete(url: str, part: Path, pin: Pin, progress: Progress) -> None:
    import requests

    tries = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            with part.open("ab") as out:
                _request(url, out, pin, progress)
            return
        except (requests.RequestException, OSError) as error:
            if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
                raise PipelineError(f"cannot be written to {part.parent}: {error.strerror}") from None
            # As long as a broken connection brings something, it is worth another one.
            tries = 0 if part.stat().st_size > before else tries + 1
            if tries >= _RETRIES.attempts or _is_final(error):
                raise PipelineError(_reason(error)) from None
            time.sleep(_RETRIES.pause(tries + 1, retry.asked_by(error)))


def _request(url: str, out: IO[bytes], pin: Pin, progress: Progress) -> None:
    import requests

    if urlsplit(url).scheme not in ("http", "https"):
        raise PipelineError("only http and https addresses are fetched")
    have = out.seek(0, os.SEEK_END)
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with requests.get(url, headers=headers, stream=True, timeout=(_CONNECT, _SILENCE)) as answer:
        if answer.status_code == 416:
            # Nothing behind what we have: either it is all there, or it is not this file.
            return
        answer.raise_for_status()
        total = _place(answer, out, have)
        if pin.size is not None and total is not None and total != pin.size:
            raise PipelineError(f"the file has {total} bytes instead of {pin.size}")
        done = out.tell()
        for block in answer.iter_content(_BLOCK):
            done += len(block)
            if pin.size is not None and done > pin.size:
                raise PipelineError(f"the file has more than {pin.size} bytes")
            out.write(block)
            progress.advance(done, total)
        if total is not None and done < total:
            raise requests.ConnectionError(f"the connection broke after {done} of {total} bytes")


def _place(answer: requests.Response, out: IO[bytes], have: int) -> int | None:
    """Put ``out`` where the answer begins; return the size of the whole, if it is told."""
    if answer.status_code == 206:
        match = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != have:
            raise PipelineError("the server answered with another part than was asked for")
        return int(match[2]) if match[2] != "*" else None
    out.truncate(0)
    out.seek(0)
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _is_final(error: Exception) -> bool:
    """Whether asking again is pointless: refused by the server with a status that won't change in a minute."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status is not None and status not in retry.TRANSIENT


def _reason(error: Exception) -> str:
    text = str(error)
    return text if text.startswith("the connection broke") else error_text.reason(error, _CONNECT, _SILENCE)


def _file_name(url: str) -> str:
    return urlsplit(url).path.rpartition("/")[2] or url
