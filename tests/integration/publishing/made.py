"""Finished builds of files made here in an instant: what the engine would hand over."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT, Home
from pipeline.engine.record.result import BuildResult, ProductResult, StepResult, StepStatus
from pipeline.host.system import process
from pipeline.recipes.loading.load import RecipeFolder
from pipeline.recipes.model.product import Publish
from pipeline.recipes.model.recipe import Recipe
from pipeline.signing import image_signature
from pipeline.signing.keys.keyring import Keyring

PACKAGES = {f"package-{number:02}": "1.0" for number in range(30)}


def recipe(name: str, **publish: Any) -> Recipe:
    """The shipped recipe under another name, of a system of its own, published as ``publish`` says."""
    (shipped,) = RecipeFolder(CHECKOUT / "recipes").load("tiny")
    desired = Publish(**{"visibility": "public", "tags": ("golden",), **publish})
    system = shipped.os.model_copy(update={"version": name})
    return shipped.model_copy(update={"name": name, "os": system, "publish": desired})


def build(
    home: Home,
    of: Recipe,
    content: str,
    *,
    blocks: int = 4096,
    packages: dict[str, str] | None = None,
    signed: bool = True,
    kernel: str = "",
    ramdisk: str = "",
    qcow2: bool = False,
    **facts: Any,
) -> BuildResult:
    """A good build whose disk, RAW, holds ``content`` and nothing else decides its bytes; so with the other two.

    With ``qcow2`` there is a product of that format, too.
    """
    given = {"raw": (content, blocks), "aki": (kernel, 64), "ari": (ramdisk, 64)}
    products = [_product(home, name, *given[name], signed=signed) for name in given if given[name][0]]
    if qcow2:
        products.append(_signed("qcow2", _converted(products[0].path), home, signed=signed))
    known: dict[str, Any] = {
        "boot_test": {"firmware": {"bios": {"seconds": 12.0}}, "ports": ["tcp 22"]},
        "offline": {"inspection": {"packages": PACKAGES if packages is None else packages, "kernels": ["6.1"]}},
    }
    steps = [
        StepResult("install", "install", StepStatus.CACHED, 20.0),
        StepResult("sign", "record", StepStatus.RAN, 0.5),
    ]
    return BuildResult(of, "run", products, of.image_properties, {**known, **facts}, steps, True, 1.0)


def _product(home: Home, name: str, content: str, blocks: int, *, signed: bool) -> ProductResult:
    folder = home.root / "made"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(f'{content} {blocks}'.encode()).hexdigest()}.{name}"
    if not path.exists():
        path.write_bytes(hashlib.sha512(content.encode()).digest() * 8 * blocks)
    return _signed(name, path, home, signed=signed)


def _converted(raw: Path) -> Path:
    made = raw.with_suffix(".qcow2")
    if not made.exists():
        process.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, made])
    return made


def _signed(name: str, path: Path, home: Home, *, signed: bool) -> ProductResult:
    signature: dict[str, str] = {}
    if signed:
        signature = _signatures.setdefault((home, path), dict(_sign(home, path)))
    data = path.read_bytes()
    digests = {kind: hashlib.new(kind, data).hexdigest() for kind in ("md5", "sha256", "sha512")}
    return ProductResult(name, path, len(data), digests, signature)


def failed(of: Recipe) -> BuildResult:
    """A build that failed."""
    error = PipelineError("the installer waits for a person", hint="look at its screen")
    steps = [StepResult("install", "install", StepStatus.FAILED, 20.0)]
    return BuildResult(of, "run", [], {}, {}, steps, True, 1.0, error=error)


# A step's signature is made once and kept with its product.
_signatures: dict[tuple[Home, Path], dict[str, str]] = {}


def _sign(home: Home, path: Path) -> dict[str, str]:
    return dict(image_signature.sign(path, Keyring(home).signer("default")).properties)
