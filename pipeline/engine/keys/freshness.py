"""Look up what there is outside now: repository metadata, mirrors, ``latest`` links, resolved to digests before a run.

Mirrors are tried in order, each a few times. Hosts are asked gently: no more than two requests at a time.
"""

from __future__ import annotations

import functools
import hashlib
import re
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from pipeline.base import retry
from pipeline.base.errors import PipelineError
from pipeline.base.urls import without_secrets
from pipeline.engine.keys.lock_file import Locked, LockFile
from pipeline.engine.keys.parallel import Wait, look_up
from pipeline.engine.units.step_entry import StepEntry
from pipeline.host.network import error_text
from pipeline.recipes.model.recipe import Recipe
from pipeline.steps.step import ChangeProbe, ExternalInput, HasExternalInputs

if TYPE_CHECKING:
    import requests

LARGEST = 64 << 20  # of what is fetched for a look
_CONNECT, _READ = 10, 60  # seconds
_RETRIES = retry.RetryPolicy(attempts=3, first=1.0, heed=30.0)  # a person waits
_HEAD = 1 << 10  # bytes that show what kind of thing the content is
_NO_WAIT = Wait()
_NEVER = "1970-01-01T00:00:00+00:00"
_WITHOUT = "; --locked builds from what was locked before"
_VALIDATORS = ("ETag", "Last-Modified", "Content-Length")


def external_inputs(recipe: Recipe, entries: Iterable[StepEntry]) -> dict[str, ExternalInput]:
    """Return everything outside that the recipe's steps take from, by name."""
    found: dict[str, ExternalInput] = {}
    for entry in entries:
        if isinstance(entry.step, HasExternalInputs) and entry.step.applies_to(recipe):
            found.update({source.name: source for source in entry.step.external_inputs(recipe)})
    return found


def resolve(
    sources: Sequence[ExternalInput],
    known: Mapping[str, Locked],
    *,
    lasting: bool = True,
    recipe: str = "",
    meanwhile: Wait = _NO_WAIT,
) -> dict[str, Locked]:
    """Return what is there now. What only time can tell, or has not changed, keeps its entry in ``known``.

    Unless the answer is ``lasting``, what only time can tell is the same each time: else nothing could be cached.
    Raises ``PipelineError`` that names the ``recipe`` and everything which could not be read, mirror by mirror.
    """
    if not sources:
        return {}
    looker = _Lookups(_now() if lasting else _NEVER)
    questions = {each.name: functools.partial(looker.look, each, known.get(each.name)) for each in sources}
    answers = look_up(questions, meanwhile)
    found = {name: answer for name, answer in answers.items() if isinstance(answer, Locked)}
    failed = [source.name for source in sources if source.name not in found]
    if failed:
        raise PipelineError(
            f"what recipe {recipe} is made from cannot be reached: {', '.join(failed)}",
            details=[line for answer in answers.values() if not isinstance(answer, Locked) for line in answer],
            hint=f"check the network and the mirrors in recipes/{recipe}.yaml{_WITHOUT if known else ''}",
        )
    return found


class LookupMode(StrEnum):
    """How far to look before a build."""

    FRESH = "fresh"  # at everything, and write the lock file
    MISSING = "missing"  # at what was never locked; nothing is written
    LOCKED = "locked"  # at nothing outside, and what lies on this machine must be what was locked
    OFFLINE = "offline"  # at nothing outside

    def may_look(self, source: ExternalInput) -> bool:
        """Return whether something that was never locked may be looked at now; what only time can tell needs no
        network.
        """
        return self in (LookupMode.FRESH, LookupMode.MISSING) or (
            self is LookupMode.OFFLINE and source.probe is ChangeProbe.TIME
        )


def current(
    recipe: Recipe, entries: Sequence[StepEntry], lock: LockFile, look: LookupMode, meanwhile: Wait = _NO_WAIT
) -> tuple[dict[str, Locked], list[str]]:
    """Return what the recipe is to be built from, and what of it is new since it was locked, in words.

    Raises ``PipelineError`` when something cannot be reached, or may not be looked at and was never locked.
    """
    sources = external_inputs(recipe, entries)
    before = {name: entry for name, entry in lock.read().items() if name in sources}
    here = resolve([source for source in sources.values() if source.probe is ChangeProbe.MACHINE], before)
    if look is LookupMode.LOCKED:
        _require_same(recipe, before, here)
    held = {**before, **here} if look is not LookupMode.FRESH else before
    missing = [source for name, source in sources.items() if name not in held]
    if unknown := [source.name for source in missing if not look.may_look(source)]:
        raise PipelineError(
            f"recipe {recipe.name} is not locked: {', '.join(unknown)}",
            hint=f"./inv lock {recipe.name} needs the network once",
        )
    if look is not LookupMode.FRESH:
        return {**held, **resolve(missing, {}, lasting=False, recipe=recipe.name, meanwhile=meanwhile)}, []
    found = resolve(list(sources.values()), held, recipe=recipe.name, meanwhile=meanwhile)
    lock.write(found)
    news = [name for name in found if name in held and found[name].identity != held[name].identity]
    return found, [f"{recipe.name}: {name} has changed" for name in news]


def known(recipe: Recipe, entries: Iterable[StepEntry], lock: LockFile) -> dict[str, Locked]:
    """Return what is locked, and what this machine itself says: all there is without a look outside."""
    locked = lock.read()
    try:
        sources = external_inputs(recipe, entries)
    except PipelineError:
        return locked  # who asks for the step's key learns why
    return {**locked, **resolve([each for each in sources.values() if each.probe is ChangeProbe.MACHINE], locked)}


def _require_same(recipe: Recipe, locked: Mapping[str, Locked], here: Mapping[str, Locked]) -> None:
    """Raise ``PipelineError`` with everything on this machine that is not what was locked."""
    wrong = [
        f"{name}: {f'locked is {locked[name].url}' if name in locked else 'never locked'}, here is {found.url}"
        for name, found in here.items()
        if name not in locked or locked[name].identity != found.identity
    ]
    if wrong:
        raise PipelineError(
            f"recipe {recipe.name} is locked to other packages than this machine has",
            details=wrong,
            hint=f"./inv lock {recipe.name} takes what is here; without --locked it is built from that, too",
        )


class _Lookups:
    """Asks for things, with patience, and gently."""

    def __init__(self, now: str) -> None:
        self.now = now
        self._places: dict[str, threading.Semaphore] = defaultdict(lambda: threading.Semaphore(2))
        self._guard = threading.Lock()

    def look(self, source: ExternalInput, known: Locked | None) -> Locked | list[str]:
        """Return what is there, or why nobody knows: a line for each place."""
        if source.probe is ChangeProbe.MACHINE:
            found = Locked(source.urls[0], _now())
            return known if known and known.identity == found.identity else found
        if source.probe is ChangeProbe.TIME:
            return known if known and known.age < source.max_age else Locked(_public(source.urls[0]), self.now)
        problems = []
        for url in source.urls:
            try:
                found = self._read(url, source)
            except (OSError, ValueError) as error:
                problems.append(f"{source.name}: {without_secrets(url)}: {_short(error)}")
            else:
                # An entry that says the same keeps its date, so that the file changes only with the thing.
                return known if known and known.identity == found.identity else found
        return problems

    def _read(self, url: str, source: ExternalInput) -> Locked:
        parts = urlsplit(url)
        if parts.scheme == "file":
            return _of_file(Path(unquote(parts.path)), url)
        if parts.scheme not in ("http", "https"):
            raise ValueError(f"{parts.scheme or 'no'} scheme; only http, https and file are read")
        with self._guard:
            place = self._places[parts.netloc]
        with place:
            return _RETRIES.call(lambda: _ask(url, source), _may_pass)


def _may_pass(error: Exception) -> bool:
    return isinstance(error, _ServerTrouble) or error_text.may_pass(error)


class _ServerTrouble(OSError):
    """The server is there but does not work now. ``retry_after``: seconds for which it wants to be left alone."""

    retry_after = 0.0


def _ask(url: str, source: ExternalInput) -> Locked:
    import requests

    method = "GET" if source.probe is ChangeProbe.CONTENT else "HEAD"
    with requests.request(method, url, stream=True, timeout=(_CONNECT, _READ), allow_redirects=True) as answer:
        if answer.status_code in retry.TRANSIENT:
            trouble = _ServerTrouble(f"the server answered {answer.status_code} {answer.reason}")
            trouble.retry_after = retry.retry_after(answer.headers.get("Retry-After"))
            raise trouble
        if answer.status_code != 200:
            raise ValueError(f"the server answered {answer.status_code} {answer.reason}")
        if source.probe is ChangeProbe.CONTENT:
            return Locked(_final(url, answer), _now(), sha256=_digest(answer, source.form))
        validators = {name: answer.headers[name] for name in _VALIDATORS if name in answer.headers}
        if not {"ETag", "Last-Modified"} & set(validators):
            raise ValueError("the server tells neither ETag nor Last-Modified")
        return Locked(_final(url, answer), _now(), validators=validators)


def _digest(answer: requests.Response, form: bytes) -> str:
    digest, size, head = hashlib.sha256(), 0, b""
    for block in answer.iter_content(1 << 16):
        digest.update(block)
        size += len(block)
        head += block[: _HEAD - len(head)]
        if size > LARGEST:
            raise ValueError(f"more than {LARGEST >> 20} MiB; this is no metadata")
    expected = answer.headers.get("Content-Length")
    if expected and expected.isdigit() and "Content-Encoding" not in answer.headers and int(expected) != size:
        raise ValueError(f"cut off after {size} of {expected} bytes")
    if not re.match(form, head):
        raise ValueError("the server answered with something else, such as a page for people")
    return digest.hexdigest()


def _of_file(path: Path, url: str) -> Locked:
    with path.open("rb") as file:
        return Locked(url, _now(), sha256=hashlib.file_digest(file, "sha256").hexdigest())


def _final(url: str, answer: requests.Response) -> str:
    """Where a redirection led, without the signatures that such places have behind a question mark."""
    return _public(url) if answer.url == url else without_secrets(answer.url)


def _public(url: str) -> str:
    """Return the URL without a user's name and password; what it asks for stays, since the lock file is read for it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _short(error: Exception) -> str:
    return error_text.reason(error, _CONNECT, _READ)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
