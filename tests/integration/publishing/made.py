"""Finished builds of files made here in an instant: what the engine would hand over."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT, Home
from pipeline.engine.result import BuildResult, ProductResult, StepResult, StepStatus
from pipeline.recipes.load import RecipeFolder
from pipeline.recipes.model import Recipe
from pipeline.recipes.product import Publish
from pipeline.signing import image_signature
from pipeline.signing.keyring import Keyring

PACKAGES = {f"package-{number:02}": "1.0" for number in range(30)}


def recipe(name: str, **publish: Any) -> Recipe:
    """The shipped recipe under another name, published as ``publish`` says."""
    (shipped,) = RecipeFolder(CHECKOUT / "recipes").load("tiny")
    wanted = Publish(**{"visibility": "public", "tags": ("golden",), **publish})
    return shipped.model_copy(update={"name": name, "publish": wanted})


def build(
    home: Home,
    of: Recipe,
    content: str,
    *,
    blocks: int = 4096,
    packages: dict[str, str] | None = None,
    signed: bool = True,
    **facts: Any,
) -> BuildResult:
    """A good build whose one product, RAW, holds ``content`` and nothing else decides its bytes."""
    folder = home.root / "made"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(f'{content} {blocks}'.encode()).hexdigest()}.raw"
    if not path.exists():
        path.write_bytes(hashlib.sha512(content.encode()).digest() * 8 * blocks)
    signature: dict[str, str] = {}
    if signed:
        signature = _signatures.setdefault((home, path), dict(_sign(home, path)))
    data = path.read_bytes()
    digests = {name: hashlib.new(name, data).hexdigest() for name in ("md5", "sha256", "sha512")}
    product = ProductResult("raw", path, len(data), digests, signature)
    known: dict[str, Any] = {
        "boot_test": {"firmware": {"bios": {"seconds": 12.0}}, "ports": ["tcp 22"]},
        "offline": {"inspection": {"packages": PACKAGES if packages is None else packages, "kernels": ["6.1"]}},
    }
    steps = [
        StepResult("install", "install", StepStatus.CACHED, 20.0),
        StepResult("sign", "record", StepStatus.RAN, 0.5),
    ]
    return BuildResult(of, "run", [product], of.image_properties, {**known, **facts}, steps, True, 1.0)


def failed(of: Recipe) -> BuildResult:
    """A build that failed."""
    error = PipelineError("the installer waits for a person", hint="look at its screen")
    steps = [StepResult("install", "install", StepStatus.FAILED, 20.0)]
    return BuildResult(of, "run", [], {}, {}, steps, True, 1.0, error=error)


# A step's signature is made once and kept with its product.
_signatures: dict[tuple[Home, Path], dict[str, str]] = {}


def _sign(home: Home, path: Path) -> dict[str, str]:
    return dict(image_signature.sign(path, Keyring(home).signer("default")).properties)
