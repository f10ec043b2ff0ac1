"""Sign exactly the products' bytes, by their digests, and attest to them: the last record over the products."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pipeline.base import atomic
from pipeline.base.home import Home
from pipeline.image.digests import Digests
from pipeline.recipes.model.recipe import Recipe
from pipeline.signing.attestation import proof, seal
from pipeline.signing.keys.keyring import Keyring
from pipeline.signing.trust.kinds import HashMethod
from pipeline.steps.sign import build_facts
from pipeline.steps.step import Context, Stage

# What the build says of itself, for a machine that signs later (./inv sign).
ABOUT = "build.json"


class SignStep:
    """Signs each product by the digests that were computed from its bytes.

    It also runs for recipes that are not signed, since what the build says of itself is wanted anyway. Its facts:
    ``{"products": {FORMAT: {"size": …, "digests": {…}, "signature": {…}}}}``, where ``signature`` are the properties
    that go with exactly these bytes: the four of the image signature, and the documents' digests. Its documents:
    ``FORMAT.signature.json``, ``FORMAT.intoto.jsonl``, ``FORMAT.cdx.json``, all three as ``FORMAT.proof.tar``, and
    ``build.json``.
    """

    name = "sign"
    stage = Stage.RECORD

    def applies_to(self, recipe: Recipe) -> bool:
        """Return ``True``, always."""
        return True

    def inputs(self, recipe: Recipe) -> Mapping[str, Any]:
        """Return the key by its generation and certificate: checkouts that share a cache sign each with their own.

        Raises ``PipelineError`` for a key that there is not: before anything is built.
        """
        # The attestation tells the whole recipe.
        options = recipe.model_dump(mode="json")
        if not recipe.signing.enabled:
            return {"signed": False, "recipe": options}
        keyring = Keyring(Home.default())
        if keyring.is_made_at_need(recipe.signing.key):
            return {"signed": True, "generation": 1, "certificate": "not made yet", "recipe": options}
        active = keyring.record(recipe.signing.key).active
        return {"signed": True, "generation": active.number, "certificate": active.certificate, "recipe": options}

    def prepare(self, recipe: Recipe, home: Home) -> None:
        """Make the key if there is none."""
        keyring = Keyring(home)
        if recipe.signing.enabled and keyring.is_made_at_need(recipe.signing.key):
            keyring.signer(recipe.signing.key)

    def run(self, context: Context) -> Mapping[str, Any]:
        """Sign every product, and write its documents."""
        facts = build_facts.gather(context)
        digests = _digests(context)
        if context.recipe.signing.enabled:
            found = self._signed(context, facts, digests)
        else:
            found = {name: _facts(each, {}) for name, each in digests.items()}
        facts = dataclasses.replace(facts, products={name: each["digests"]["sha256"] for name, each in found.items()})
        text = json.dumps(dataclasses.asdict(facts), indent=1, sort_keys=True) + "\n"
        atomic.write_text(context.documents / ABOUT, text)
        return {"products": found}

    def _signed(self, context: Context, facts: seal.BuildFacts, digests: Mapping[str, Digests]) -> dict[str, Any]:
        keyring = Keyring(context.home)
        key = keyring.signer(context.recipe.signing.key)
        method = HashMethod(context.recipe.signing.hash)
        found = {}
        for name, each in digests.items():
            context.progress.say(f"signing {name} with a {key.kind} key")
            shown = f"{context.recipe.name}.{name}"
            made = seal.seal(each, shown, facts, key, method, keyring.certificates)
            packed = proof.pack(made.documents)
            for ending, data in {**made.documents, proof.ENDING: packed}.items():
                atomic.write_bytes(context.documents / f"{name}.{ending}", data)
            found[name] = _facts(each, {**made.properties, **_named(made, packed)})
        return found


def _digests(context: Context) -> dict[str, Digests]:
    found = context.facts["digest"]["products"]
    return {name: Digests(found[name]["size"], found[name]["digests"]) for name in context.products}


def _named(made: seal.Sealed, packed: bytes) -> dict[str, str]:
    """Return the image's documents by digest, as properties."""
    named = {proof.SHA256: packed, proof.SBOM_SHA256: made.documents.get(seal.SBOM)}
    return {name: hashlib.sha256(data).hexdigest() for name, data in named.items() if data is not None}


def _facts(digests: Digests, signature: Mapping[str, str]) -> dict[str, Any]:
    return {"size": digests.size, "digests": dict(digests.values), "signature": dict(signature)}
