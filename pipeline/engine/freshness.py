"""What is there outside now: repository metadata, mirrors, ``latest`` links, resolved to digests before a run.

Mirrors are tried in order, each a few times. Hosts are asked gently: no more than two requests at a time.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from pipeline.base.errors import PipelineError
from pipeline.engine.entry import Entry
from pipeline.engine.lock_file import Locked, LockFile
from pipeline.recipes.model import Recipe
from pipeline.steps.step import Outside, Reading

if TYPE_CHECKING:
    import requests

LARGEST = 64 << 20  # of what is fetched for a look
_CONNECT, _READ = 10, 60  # seconds
_TRIES = 3
_PAUSE = 0.5
_AT_ONCE = 8
_VALIDATORS = ("ETag", "Last-Modified", "Content-Length")


def outside(recipe: Recipe, entries: Iterable[Entry]) -> dict[str, Outside]:
    """Everything outside that the recipe's steps take from, by name."""
    found: dict[str, Outside] = {}
    for entry in entries:
        ask = getattr(entry.step, "outside", None)
        if ask is not None and entry.step.wanted(recipe):
            found.update({source.name: source for source in ask(recipe)})
    return found


def resolve(sources: Sequence[Outside], known: Mapping[str, Locked]) -> dict[str, Locked]:
    """What is there now. What only time can tell, or has not changed, keeps its entry in ``known``.

    Raises ``PipelineError`` that names everything which could not be read.
    """
    looker = _Looker()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(lambda source: looker.look(source, known.get(source.name)), sources))
    failed = [answer for answer in answers if isinstance(answer, str)]
    if failed:
        raise PipelineError(
            "what the recipe is made from cannot be reached",
            details=failed,
            hint="check the network and the mirrors in the recipe; --locked builds from what was locked before",
        )
    return {source.name: answer for source, answer in zip(sources, answers, strict=True) if isinstance(answer, Locked)}


def current(
    recipe: Recipe, entries: Sequence[Entry], lock: LockFile, *, fresh: bool, locked: bool
) -> tuple[dict[str, Locked], list[str]]:
    """What the recipe is to be built from, and what of it is new since it was locked, in words.

    ``fresh`` looks at everything and writes the lock file. ``locked`` looks at nothing and raises ``PipelineError``
    when something was never locked. With neither, only what was never locked is looked at, and nothing is written.
    """
    sources = outside(recipe, entries)
    known = {name: entry for name, entry in lock.read().items() if name in sources}
    missing = [source for name, source in sources.items() if name not in known]
    if locked and missing:
        names = ", ".join(source.name for source in missing)
        raise PipelineError(
            f"recipe {recipe.name} is not locked: {names}", hint=f"./inv lock {recipe.name} needs the network once"
        )
    if not fresh:
        return {**known, **resolve(missing, {})}, []
    found = resolve(list(sources.values()), known)
    lock.write(found)
    news = [name for name in found if name in known and found[name].identity != known[name].identity]
    return found, [f"{recipe.name}: {name} has changed" for name in news]


class _Looker:
    """Asks for things, with patience, and gently."""

    def __init__(self) -> None:
        self._places: dict[str, threading.Semaphore] = defaultdict(lambda: threading.Semaphore(2))
        self._guard = threading.Lock()

    def look(self, source: Outside, known: Locked | None) -> Locked | str:
        """What is there, or in words why nobody knows."""
        if source.reading is Reading.TIME:
            return known if known and known.age < source.max_age else Locked(_public(source.urls[0]), _now())
        problems = []
        for url in source.urls:
            try:
                found = self._read(url, source.reading)
            except (OSError, ValueError) as error:
                problems.append(f"{_public(url)}: {_short(error)}")
            else:
                # An entry that says the same keeps its date, so that the file changes only with the thing.
                return known if known and known.identity == found.identity else found
        return f"{source.name}: {'; '.join(problems)}"

    def _read(self, url: str, reading: Reading) -> Locked:
        parts = urlsplit(url)
        if parts.scheme == "file":
            return _of_file(Path(unquote(parts.path)), url)
        if parts.scheme not in ("http", "https"):
            raise ValueError(f"{parts.scheme or 'no'} scheme; only http, https and file are read")
        with self._guard:
            place = self._places[parts.netloc]
        with place:
            return _patiently(lambda: _ask(url, reading))


def _patiently(ask: Callable[[], Locked]) -> Locked:
    import requests

    for attempt in range(1, _TRIES):
        try:
            return ask()
        except (requests.ConnectionError, requests.Timeout, _ServerTrouble):
            time.sleep(_PAUSE * 2**attempt)
    return ask()


class _ServerTrouble(OSError):
    """The server is there but does not work now."""


def _ask(url: str, reading: Reading) -> Locked:
    import requests

    method = "GET" if reading is Reading.CONTENT else "HEAD"
    with requests.request(method, url, stream=True, timeout=(_CONNECT, _READ), allow_redirects=True) as answer:
        if answer.status_code >= 500 or answer.status_code == 429:
            raise _ServerTrouble(f"the server answered {answer.status_code} {answer.reason}")
        if answer.status_code != 200:
            raise ValueError(f"the server answered {answer.status_code} {answer.reason}")
        if reading is Reading.CONTENT:
            return Locked(_final(url, answer), _now(), sha256=_digest(answer))
        validators = {name: answer.headers[name] for name in _VALIDATORS if name in answer.headers}
        if not {"ETag", "Last-Modified"} & set(validators):
            raise ValueError("the server tells neither ETag nor Last-Modified")
        return Locked(_final(url, answer), _now(), validators=validators)


def _digest(answer: requests.Response) -> str:
    digest, size = hashlib.sha256(), 0
    for block in answer.iter_content(1 << 16):
        digest.update(block)
        size += len(block)
        if size > LARGEST:
            raise ValueError(f"more than {LARGEST >> 20} MiB; this is no metadata")
    expected = answer.headers.get("Content-Length")
    if expected and expected.isdigit() and "Content-Encoding" not in answer.headers and int(expected) != size:
        raise ValueError(f"cut off after {size} of {expected} bytes")
    return digest.hexdigest()


def _of_file(path: Path, url: str) -> Locked:
    with path.open("rb") as file:
        return Locked(url, _now(), sha256=hashlib.file_digest(file, "sha256").hexdigest())


def _final(url: str, answer: requests.Response) -> str:
    """Where a redirection led, without the signatures that such places have behind a question mark."""
    if answer.url == url:
        return _public(url)
    return _public(urlunsplit(urlsplit(answer.url)._replace(query="", fragment="")))


def _public(url: str) -> str:
    """The URL without a user's name and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _short(error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    return reason.splitlines()[0][:200] if reason else type(error).__name__


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
