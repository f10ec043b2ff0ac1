"""The last record over the products: their digests, and the signature over exactly these bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.base.home import Home
from pipeline.base.progress import Progress
from pipeline.image.digests import USUAL, Digests, digest_file
from pipeline.recipes.model import Recipe
from pipeline.signing import image_signature, signer
from pipeline.signing.keyring import Keyring
from pipeline.signing.kinds import HashMethod
from pipeline.steps.step import Context, Stage


class Sign:
    """Reads each product once, for all digests and the signature together.

    It also runs for recipes that are not signed, since publishing needs the digests. Its facts:
    ``{"products": {FORMAT: {"size": …, "digests": {…}, "signature": {…}}}}``.
    """

    name = "sign"
    stage = Stage.RECORD

    def wanted(self, recipe: Recipe) -> bool:
        """Always."""
        return True

    def inputs(self, recipe: Recipe) -> Mapping[str, Any]:
        """The key by its name and generation. The first generation is made when it is first needed."""
        if not recipe.signing.enabled:
            return {"signed": False}
        keyring = Keyring(Home.default())
        known = recipe.signing.key in keyring.names()
        number = keyring.record(recipe.signing.key).active.number if known else 1
        return {"signed": True, "hash": str(recipe.signing.hash), "key": recipe.signing.key, "generation": number}

    def sources(self) -> Sequence[Path]:
        """What makes signatures."""
        return [Path(image_signature.__file__), Path(signer.__file__)]

    def run(self, context: Context) -> Mapping[str, Any]:
        """Digest and sign every product."""
        if not context.recipe.signing.enabled:
            return {
                "products": {
                    name: _facts(digest_file(path, USUAL, progress=context.progress), {})
                    for name, path in context.products.items()
                }
            }
        key = Keyring(context.home).signer(context.recipe.signing.key)
        method = HashMethod(context.recipe.signing.hash)
        return {
            "products": {name: _signed(path, key, method, context.progress) for name, path in context.products.items()}
        }


def _signed(path: Path, key: signer.Signer, method: HashMethod, progress: Progress) -> dict[str, Any]:
    progress.say(f"signing {path.name} with a {key.kind} key")
    made = image_signature.sign(path, key, method, progress=progress)
    return _facts(made.digests, made.properties)


def _facts(digests: Digests, signature: Mapping[str, str]) -> dict[str, Any]:
    return {"size": digests.size, "digests": dict(digests.values), "signature": dict(signature)}
