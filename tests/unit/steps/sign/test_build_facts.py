from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.base.progress import nothing
from pipeline.recipes.model.recipe import Recipe
from pipeline.signing import image_signature
from pipeline.signing.attestation import seal
from pipeline.signing.attestation.dsse import Envelope
from pipeline.signing.attestation.statement import TEST_RESULT, Statement
from pipeline.signing.keys.keyring import Keyring
from pipeline.signing.trust.certificates import LocalCertificates
from pipeline.steps.digest import DigestStep
from pipeline.steps.sign.step import SignStep
from pipeline.steps.step import Context, Origin
from pipeline.steps.tiny.step import InstallTiny

pytestmark = pytest.mark.subprocess


def recipe(**signing: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "x",
            "os": {"type": "linux", "distro": "debian", "version": "12"},
            "disk": {"size": "64MiB"},
            "install": {"method": "tiny"},
            "products": [{"format": "qcow2"}, {"format": "raw"}],
            "signing": signing,
        }
    )


def context(home: Home, tmp_path: Path, asked: Recipe) -> Context:
    products = {}
    for name in ("qcow2", "raw"):
        products[name] = tmp_path / name
        products[name].write_bytes(name.encode() * 50_000)
    with (tmp_path / "log").open("wb") as log:
        return Context(
            recipe=asked,
            home=home,
            folder=tmp_path,
            disk=tmp_path / "disk",
            products=products,
            evidence=tmp_path,
            log=log,
            progress=nothing,
            accelerator="tcg",
            layers=tmp_path,
            documents=tmp_path,
        )


def signed(work: Context) -> Mapping[str, Any]:
    """What signing says, after the digests."""
    digested = {**work.facts, "digest": DigestStep().run(work)}
    facts: Mapping[str, Any] = SignStep().run(dataclasses.replace(work, facts=digested))["products"]
    return facts


def test_each_product_is_signed_over_its_own_bytes(home: Home, tmp_path: Path) -> None:
    asked = recipe(hash="SHA-512")
    work = context(home, tmp_path, asked)
    facts = signed(work)
    for name, path in work.products.items():
        assert facts[name]["size"] == path.stat().st_size
        assert facts[name]["digests"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert facts[name]["signature"]["img_signature_hash_method"] == "SHA-512"
        image_signature.verify_file(path, facts[name]["signature"], LocalCertificates(home.certificates))
    assert facts["raw"]["signature"] != facts["qcow2"]["signature"]


def test_unsigned_recipes_still_get_digests(home: Home, tmp_path: Path) -> None:
    facts = signed(context(home, tmp_path, recipe(enabled=False)))
    assert facts["raw"]["signature"] == {} and set(facts["raw"]["digests"]) == {"md5", "sha256", "sha512"}
    assert not home.keys.exists()


def test_the_inputs_name_the_key_and_change_only_with_it(home: Home, tmp_path: Path) -> None:
    step, asked = SignStep(), recipe()
    step.prepare(recipe(enabled=False), home)
    unmade = step.inputs(asked)
    assert not home.keys.exists()  # planning makes nothing
    step.prepare(asked, home)
    before = step.inputs(asked)
    assert before != unmade and before["generation"] == 1
    signed(context(home, tmp_path, asked))
    step.prepare(asked, home)
    assert step.inputs(asked) == before
    Keyring(home).rotate("default")
    assert step.inputs(asked)["generation"] == 2
    assert not step.inputs(recipe(enabled=False))["signed"]


def test_a_key_that_there_is_not_is_known_before_anything_is_built(home: Home) -> None:
    with pytest.raises(PipelineError, match="there is no key 'relaese'"):
        SignStep().inputs(recipe(key="relaese"))
    assert not home.keys.exists()


def test_the_bill_of_a_tiny_guest_lists_what_it_is_made_of(home: Home, tmp_path: Path) -> None:
    both = recipe()
    asked = both.model_copy(update={"products": both.products[:1]})
    with (tmp_path / "install.log").open("wb") as log:
        install = InstallTiny().run(dataclasses.replace(context(home, tmp_path, asked), log=log))
    inspection = {"product": "Tiny guest", "kernels": ["6.1.0"], "loaders": ["syslinux"], "firmware": ["bios", "uefi"]}
    facts = {
        "install": install,
        "offline": {"inspection": inspection},
        "scan": {"report": {"findings": [], "allowed": []}, "packages": []},
    }
    work = context(home, tmp_path, asked)
    signed(dataclasses.replace(work, facts=facts, products={"qcow2": work.disk}))
    bill = (tmp_path / f"qcow2.{seal.SBOM}").read_bytes()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill.decode()) is None
    parts = json.loads(bill)["components"]
    image = json.loads(bill)["metadata"]["component"]
    assert {each["name"]: each["value"] for each in image["properties"]} == {
        "image:product": "Tiny guest",
        "image:kernel": "6.1.0",
        "image:boot-loader": "syslinux",
        "image:firmware": "bios, uefi",
    }
    places = {location["location"]: part for part in parts for location in part["evidence"]["occurrences"]}
    assert all(part["version"] and part["purl"].startswith("pkg:") for part in parts)
    assert any("busybox" in path for path in places) and any("vmlinuz" in path for path in places)
    assert any(path.endswith(".ko") or ".ko." in path for path in places)
    # The provenance names every one of these files with its digest.
    line = (tmp_path / f"qcow2.{seal.ATTESTATIONS}").read_bytes().splitlines()[0]
    predicate = Statement.parse(Envelope.parse(line).payload).predicate
    digests = {each["name"]: each["digest"] for each in predicate["buildDefinition"]["resolvedDependencies"]}
    for path, part in places.items():
        told = next(each for each in part["evidence"]["occurrences"] if each["location"] == path)
        assert told["additionalContext"].removeprefix("sha256:") in {each.get("sha256") for each in digests.values()}


def test_a_boot_of_an_earlier_image_says_which_and_when(home: Home, tmp_path: Path) -> None:
    booted = {"seconds": 12.0, "powered_off": True, "accelerator": "tcg"}
    facts = {
        "boot_test": {"product": "qcow2", "firmware": {"uefi": booted}},
        "firmware_test": {"firmware": {"bios": booted}, "boot_chain": "abc"},
    }
    origins = [
        Origin("boot_test", "k1", "run-2", "2026-11-21T01:00:00+00:00", 12.0, "tcg"),
        Origin("firmware_test", "k2", "run-1", "2026-11-20T01:00:00+00:00", 12.0, "tcg"),
    ]
    work = dataclasses.replace(context(home, tmp_path, recipe()), facts=facts, origins=origins)
    signed(work)
    lines = (tmp_path / f"qcow2.{seal.ATTESTATIONS}").read_bytes().splitlines()
    statements = [Statement.parse(Envelope.parse(line).payload) for line in lines]
    (said,) = [each.predicate for each in statements if each.predicate_type == TEST_RESULT]
    assert said["configuration"][0]["annotations"]["firmware"] == {
        "uefi": booted,
        "bios": {**booted, "boot_chain": "abc", "run": "run-1", "made": "2026-11-20T01:00:00+00:00"},
    }
