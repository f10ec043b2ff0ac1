"""Carry out ``./inv sign``: sign a folder that another machine built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.base import atomic, json_text
from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.base.plain_text import one_line
from pipeline.image.digests import USUAL, digest_file
from pipeline.image.formats import FormatTap
from pipeline.signing.attestation import proof, seal
from pipeline.signing.keys.keyring import Keyring
from pipeline.signing.keys.signer import Signer
from pipeline.signing.trust.kinds import HashMethod

_ABOUT = "build.json"
# What is taken for an image, besides what the build says it made: nothing stays unsigned unseen.
_FORMATS = ("qcow2", "raw", "vmdk", "vhd", "vhdx", "vdi")


@dataclass(frozen=True)
class Keys:
    """The names of the keys: for images, for attestations if another, for sigstore bundles if they are wanted."""

    image: str = "default"
    attestations: str = ""
    bundles: str = ""


def _bundler(keyring: Keyring, name: str) -> Signer:
    if name not in keyring.names():
        raise PipelineError(f"there is no key {name!r} for sigstore bundles", hint=f"./inv keys.new {name} --kind p256")
    return keyring.signer(name)


def run(home: Home, folder: str, keys: Keys, *, method: str) -> None:
    """Compute every digest anew from the bytes, inspect them, and write the documents next to each image.

    Nothing is written unless every image is the one that the build tells of.
    """
    location = Path(folder)
    if not location.is_dir():
        raise PipelineError(f"there is no folder {folder}", hint="name the folder that ./inv build names at its end")
    about = _about(location)
    keyring = Keyring(home)
    signer = keyring.signer(keys.image)
    attester = keyring.signer(keys.attestations) if keys.attestations else None
    bundler = _bundler(keyring, keys.bundles) if keys.bundles else None
    formats = sorted({*_FORMATS, *about.products})
    images = [
        (path, disk_format) for path in sorted(location.iterdir()) for disk_format in formats if _is(path, disk_format)
    ]
    if not images:
        raise PipelineError(
            f"{folder} has no image ({', '.join(formats)})", hint="name the folder that ./inv build names at its end"
        )
    done = []
    for path, disk_format in images:
        tap = FormatTap()
        digests = digest_file(path, {*USUAL, _method(method).algorithm}, taps=[tap.feed])
        sealed = seal.seal(
            digests,
            path.name,
            about,
            signer,
            _method(method),
            keyring.certificates,
            attester=attester,
            bundler=bundler,
        )
        tap.finish(disk_format)
        about.require(disk_format, sealed.digests.sha256, name=str(path))
        done.append((path, sealed))
    for path, sealed in done:
        for ending, data in {**sealed.documents, proof.ENDING: proof.pack(sealed.documents)}.items():
            atomic.write_bytes(path.with_name(f"{path.name}.{ending}"), data)
        done_with = f"sha256 {sealed.digests.sha256}, {signer.kind} key, certificate {signer.certificate}"
        print(one_line(f"signed {path.name}: {done_with}"))


def _about(folder: Path) -> seal.BuildFacts:
    found = [each for each in sorted(folder.iterdir()) if each.name == _ABOUT or each.name.endswith(f".{_ABOUT}")]
    if len(found) != 1:
        raise PipelineError(
            f"{folder} has {len(found)} descriptions of a build (NAME.{_ABOUT}), one is needed",
            hint="copy the whole folder that ./inv build names",
        )
    try:
        data = json_text.loads(found[0].read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise PipelineError(f"{found[0]} cannot be read: {error}") from None
    return seal.BuildFacts.parse(data, name=str(found[0]))


def _is(path: Path, disk_format: str) -> bool:
    return path.suffix == f".{disk_format}" and path.is_file()


def _method(text: str) -> HashMethod:
    try:
        return HashMethod(text.upper())
    except ValueError:
        raise PipelineError(
            f"there is no digest {text!r} for signatures", hint=f"use {', '.join(HashMethod)}"
        ) from None
