"""Fetch a file that its maker replaces under the same name: a signed list of checksums says what it is today."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.base import atomic
from pipeline.base.errors import PipelineError
from pipeline.host.network import checksums, download, openpgp
from pipeline.recipes.model.release import ListSignature, Release
from pipeline.steps.step import Context, ExternalInput

# A list or a key that is longer is none.
_LARGEST = 16 << 20


def external_inputs(release: Release) -> list[ExternalInput]:
    """Return what the engine looks at: the list and its signature."""
    return [_input(release, name) for name in _names(release)]


def fetch(context: Context, release: Release) -> tuple[Path, Mapping[str, Any]]:
    """Return the file as the locked list has it, and what proves that. Raises ``PipelineError``."""
    kind, digest, facts = _listed_digest(
        context, release, {name: _locked(context, release, name) for name in _names(release)}
    )
    pin = _pin(kind, digest)
    context.progress.say(f"fetching {release.file}")
    urls = _urls(context, release, release.file)
    try:
        file = download.fetch(
            urls,
            pin,
            _folder(context),
            progress=context.progress,
            offline=context.offline,
        )
    except PipelineError as error:
        raise _changed(context, release.file, error) from error
    origin = {"name": release.file, "uri": urls[0], "digest": {kind: digest}}
    return file, {**facts, "dependencies": [origin]}


def check_release(context: Context, release: Release, file: Path) -> Mapping[str, Any]:
    """Return what is known of a file that a person gave.

    If the list lies next to it, as in the maker's folder, the file must be what the list says, and the list's signature
    must be there and good. Otherwise the person vouches for it.
    """
    if not (file.parent / release.checksums).is_file():
        return {"verified": False}
    texts = {}
    for name in _names(release):
        beside = file.parent / name
        if not beside.is_file() or beside.stat().st_size > _LARGEST:
            raise PipelineError(f"{beside} is missing: {release.checksums} is beside the image, but not its signature")
        texts[name] = beside.read_bytes()
    kind, digest, facts = _listed_digest(context, release, texts)
    problem = _pin(kind, digest).problem(file)
    if problem:
        raise PipelineError(f"{file} is not the {release.file} of the list beside it: it {problem}")
    return facts


def _listed_digest(context: Context, release: Release, texts: Mapping[str, bytes]) -> tuple[str, str, dict[str, Any]]:
    """Hash and digest that the list gives, once its signature was found good, and what is worth telling of that."""
    text = texts[release.checksums]
    facts: dict[str, Any] = {"verified": True, "signed_by": None}
    if release.signature is not None:
        context.progress.say(f"checking the signature of {release.checksums}")
        _check(context, release.signature, text, texts[release.signature.file], release.checksums)
        facts["signed_by"] = release.signature.fingerprint
    kind, digest = checksums.find(text.decode(errors="replace"), release.file, of=release.checksums)
    return kind, digest, {**facts, kind: digest}


def _check(context: Context, signature: ListSignature, text: bytes, made: bytes, of: str) -> None:
    kept = _folder(context) / "keys" / signature.fingerprint
    key = signature.key.path if signature.key else kept
    if key.is_file():
        openpgp.verify(text, made, key.read_bytes(), signature.fingerprint, of=of)
        return
    if context.offline:
        raise PipelineError(f"the key {signature.fingerprint} is not in the cache, and the network is not to be used")
    fetched = download.fetch_small(signature.key_urls, limit=_LARGEST)
    openpgp.verify(text, made, fetched, signature.fingerprint, of=of)
    # Kept once it was seen to be the right one: a server that answers with another must not spoil the next build.
    kept.parent.mkdir(parents=True, exist_ok=True)
    with atomic.new_file(kept) as temporary:
        temporary.write_bytes(fetched)


def _locked(context: Context, release: Release, name: str) -> bytes:
    found = context.locked.get(_input(release, name).name, {}).get("sha256")
    if not found:
        raise PipelineError(f"{name} was not looked at yet", hint=f"./inv lock {context.recipe.name}")
    try:
        file = download.fetch(
            _urls(context, release, name), download.Pin(found), _folder(context), offline=context.offline
        )
    except PipelineError as error:
        raise _changed(context, name, error) from error
    return file.read_bytes()


def _changed(context: Context, name: str, error: PipelineError) -> PipelineError:
    """Say that a newer release came in since the recipe was locked: the usual reason, and the one with a remedy."""
    if not any(" instead of " in line for line in error.details):
        return error
    return PipelineError(
        f"{name} is not there any more as it was when the recipe was locked: its maker has replaced it",
        details=error.details,
        hint=f"./inv lock {context.recipe.name} takes what is there now",
    )


def _urls(context: Context, release: Release, name: str) -> list[str]:
    """Put the server that answered when the recipe was locked first: others may lag behind."""
    found = str(context.locked.get(_input(release, release.checksums).name, {}).get("url", ""))
    first = sorted(release.folders, key=lambda folder: not found.startswith(folder))
    return [f"{folder}{name}" for folder in first]


def _names(release: Release) -> Sequence[str]:
    return [release.checksums, *([release.signature.file] if release.signature else [])]


def _input(release: Release, name: str) -> ExternalInput:
    urls = tuple(f"{folder}{name}" for folder in release.folders)
    return ExternalInput(f"{name} for {release.file}", urls, form=rb"(?!\s*<)")


def _pin(kind: str, digest: str) -> download.Pin:
    return download.Pin(digest) if kind == "sha256" else download.Pin(None, {kind: digest})


def _folder(context: Context) -> Path:
    return context.home.cache / "downloads"
