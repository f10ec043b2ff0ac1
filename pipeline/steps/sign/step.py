"""The last record over the products: their digests, the signature over exactly these bytes, and the attestations."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.base import atomic
from pipeline.base.home import Home
from pipeline.image.digests import USUAL, Digests, digest_file
from pipeline.recipes.model import Recipe
from pipeline.signing import dsse, image_signature, proof, provenance, sbom, seal, signer, statement
from pipeline.signing.keyring import Keyring
from pipeline.signing.kinds import HashMethod
from pipeline.steps.sign import about
from pipeline.steps.step import Context, Stage

# What the build says of itself, for a machine that signs later (./inv sign).
ABOUT = "build.json"


class Sign:
    """Reads each product once, for all digests and the signature together.

    It also runs for recipes that are not signed, since publishing needs the digests. Its facts:
    ``{"products": {FORMAT: {"size": …, "digests": {…}, "signature": {…}}}}``, where ``signature`` are the properties
    that go with exactly these bytes: the four of the image signature, and the documents' digests. Its documents:
    ``FORMAT.signature.json``, ``FORMAT.intoto.jsonl``, ``FORMAT.cdx.json``, all three as ``FORMAT.proof.tar``, and
    ``build.json``.
    """

    name = "sign"
    stage = Stage.RECORD

    def wanted(self, recipe: Recipe) -> bool:
        """Always."""
        return True

    def inputs(self, recipe: Recipe) -> Mapping[str, Any]:
        """The key by its generation and certificate: checkouts that share a cache sign each with their own."""
        # The attestation tells the whole recipe.
        options = recipe.model_dump(mode="json")
        if not recipe.signing.enabled:
            return {"signed": False, "recipe": options}
        keyring = Keyring(Home.default())
        if recipe.signing.key not in keyring.names():
            return {"signed": True, "generation": 1, "certificate": "not made yet", "recipe": options}
        active = keyring.record(recipe.signing.key).active
        return {"signed": True, "generation": active.number, "certificate": active.certificate, "recipe": options}

    def prepare(self, recipe: Recipe, home: Home) -> None:
        """Make the key if there is none."""
        keyring = Keyring(home)
        if recipe.signing.enabled and recipe.signing.key not in keyring.names():
            keyring.signer(recipe.signing.key)

    def sources(self) -> Sequence[Path]:
        """What makes signatures and documents."""
        modules = (about, dsse, image_signature, proof, provenance, sbom, seal, signer, statement)
        return [Path(str(module.__file__)) for module in modules]

    def run(self, context: Context) -> Mapping[str, Any]:
        """Digest and sign every product, and write its documents."""
        told = about.gather(context)
        found = self._signed(context, told) if context.recipe.signing.enabled else self._digested(context)
        told = dataclasses.replace(told, products={name: each["digests"]["sha256"] for name, each in found.items()})
        text = json.dumps(dataclasses.asdict(told), indent=1, sort_keys=True) + "\n"
        atomic.write_text(context.documents / ABOUT, text)
        return {"products": found}

    def _digested(self, context: Context) -> dict[str, Any]:
        return {
            name: _facts(digest_file(path, USUAL, progress=context.progress), {})
            for name, path in context.products.items()
        }

    def _signed(self, context: Context, told: seal.About) -> dict[str, Any]:
        keyring = Keyring(context.home)
        key = keyring.signer(context.recipe.signing.key)
        method = HashMethod(context.recipe.signing.hash)
        found = {}
        for name, path in context.products.items():
            context.progress.say(f"signing {name} with a {key.kind} key")
            shown = f"{context.recipe.name}.{name}"
            made = seal.seal(path, shown, told, key, method, keyring.certificates, progress=context.progress)
            packed = proof.pack(made.documents)
            for ending, data in {**made.documents, proof.ENDING: packed}.items():
                atomic.write_bytes(context.documents / f"{name}.{ending}", data)
            found[name] = _facts(made.digests, {**made.properties, **_named(made, packed)})
        return found


def _named(made: seal.Sealed, packed: bytes) -> dict[str, str]:
    """The image's documents by digest, as properties."""
    named = {proof.SHA256: packed, proof.SBOM_SHA256: made.documents.get(seal.SBOM)}
    return {name: hashlib.sha256(data).hexdigest() for name, data in named.items() if data is not None}


def _facts(digests: Digests, signature: Mapping[str, str]) -> dict[str, Any]:
    return {"size": digests.size, "digests": dict(digests.values), "signature": dict(signature)}
