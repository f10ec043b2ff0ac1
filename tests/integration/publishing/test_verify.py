"""``./inv verify`` of published images: the proof travels with them, and what is changed in the cloud is noticed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.progress import nothing
from pipeline.cli.handlers import verify as verify_handler
from pipeline.engine.record.result import BuildResult
from pipeline.publishing.cloud.ownership_marker import ImagePart
from pipeline.publishing.transaction.transaction import PublishOutcome
from pipeline.signing.verification.policy import Check
from pipeline.steps.digest import DigestStep
from pipeline.steps.sign.step import SignStep
from pipeline.steps.step import Context
from tests.integration.publishing.conftest import Desk

pytestmark = pytest.mark.server
Verified = Callable[[], dict[str, str]]


def proven(desk: Desk, folder: Path) -> BuildResult:
    """A build with its documents, as the last step leaves them."""
    build = desk.build("a", signed=False)
    (product,) = build.products
    with (folder / "log").open("wb") as log:
        context = Context(
            recipe=desk.recipe,
            home=desk.home,
            folder=folder,
            disk=folder / "disk",
            products={product.format: product.path},
            evidence=folder,
            log=log,
            progress=nothing,
            accelerator="tcg",
            layers=folder,
            documents=folder,
            facts={"scan": {"report": {"findings": [], "allowed": []}, "packages": []}, "boot_test": {}},
        )
        digested = {**context.facts, "digest": DigestStep().run(context)}
        facts = SignStep().run(replace(context, facts=digested))["products"][product.format]
    desk.build("a")  # the service gets to know the certificate
    documents = {path.name: path for path in folder.iterdir() if path.name.startswith(f"{product.format}.")}
    return replace(build, products=[replace(product, signature=facts["signature"])], documents=documents)


@pytest.fixture
def verified(desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Verified:
    """Publishes a build; what a verification of the image says, check by check."""
    folder = tmp_path / "documents"
    folder.mkdir()
    publish_result = desk.publish(proven(desk, folder))
    assert (publish_result.outcome, publish_result.error) == (PublishOutcome.PUBLISHED, None)

    def verify() -> dict[str, str]:
        capsys.readouterr()
        status: Any = 0
        try:
            verify_handler.run(desk.home, desk.recipe.image_name, cloud="here", policy="", trust="", as_json=True)
        except SystemExit as ended:
            status = ended.code
        (verdict,) = json.loads(capsys.readouterr().out)
        assert verdict["good"] is (status == 0)
        return {name: check["status"] for name, check in verdict["checks"].items()}

    return verify


def rewrite(desk: Desk, image_id: str) -> None:
    """What somebody with the store's disk can do."""
    for store in ("one", "two"):
        for file in desk.services["here"].files(store):
            if image_id in file.name:
                data = bytearray(file.read_bytes())
                data[600] ^= 1
                file.chmod(0o600)
                file.write_bytes(bytes(data))


def test_a_published_image_has_its_whole_proof(verified: Verified) -> None:
    assert verified() == dict.fromkeys(map(str, Check), "ok")


def test_bytes_that_were_changed_in_the_store(desk: Desk, verified: Verified) -> None:
    rewrite(desk, desk.newest().id)
    checks = verified()
    assert {name for name, status in checks.items() if status != "ok"} >= {"digests", "signature", "attestations"}


def test_another_proof(desk: Desk, verified: Verified) -> None:
    (image,) = desk.images(part=ImagePart.PROOF)
    rewrite(desk, image.id)
    with pytest.raises(PipelineError, match="not the one that the image names"):
        verified()


def test_properties_that_were_changed(desk: Desk, verified: Verified) -> None:
    image = desk.newest()
    service = desk.services["here"]
    patch = [{"op": "replace", "path": "/sbom_sha256", "value": "0" * 64}]
    headers = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
    answer = service.request("PATCH", f"/v2/images/{image.id}", "admin", data=json.dumps(patch), headers=headers)
    assert answer.status_code == 200, answer.text
    assert {name for name, status in verified().items() if status != "ok"} == {"sbom"}
    patch = [{"op": "remove", "path": "/proof_id"}]
    answer = service.request("PATCH", f"/v2/images/{image.id}", "admin", data=json.dumps(patch), headers=headers)
    assert answer.status_code == 200, answer.text
    assert {name for name, status in verified().items() if status == "ok"} == {"signature", "certificate"}
