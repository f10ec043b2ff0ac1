"""The OpenStack community's own suites find nothing wrong with the service, behind a real Keystone.

They are tempest's image tests and the image service's RBAC tests. On SQLite the service checks locations' digests, on
the others it does not and its stores have weights, so that both halves of the suites' either-or tests run. On SQLite
they always run whole, on the others as a sample: what those settings change, and metadata definitions.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.environments import tempest
from tests.environments.deployed_service import image_service, with_keystone
from tests.environments.keystone import Keystone

pytestmark = [pytest.mark.server, pytest.mark.timeout(1800)]

# What the service does not offer yet. Each line goes when its part lands.
EXCLUDED = {r"ImageCachingTest": "the image cache"}
# What the suites themselves leave out, and rightly so.
SKIPS = {
    "Nova is not available",
    "do_secure_hash is enabled",
    "do_secure_hash is disabled",
    "HashCalculationRemoteDeletionTest skipped as do_secure_hash is disabled",
    "StoreWeightTest skipped as store weight is not configured",
    "Skipped until bug: https://launchpad.net/bugs/2030527 is resolved.",
    # A second endpoint, and a method that is off by default.
    "No image_remote service to test against",
    "Server does not support glance-download import method",
}
SAMPLE = (r"^tempest\.api\.image.*\.(MetadataNamespace\w*|LocationImport|MultistoreLocationImport|StoreWeight)Test\.",)
# How many tests the reference passes too.
FEWEST: dict[tuple[str, ...], int] = {tempest.SUITES: 251, SAMPLE: 10}


@pytest.mark.parametrize(
    ("kind", "only"),
    [
        pytest.param("sqlite", tempest.SUITES, id="sqlite"),
        pytest.param("postgresql", SAMPLE, id="postgresql-sample"),
        pytest.param("mariadb", SAMPLE, id="mariadb-sample"),
        pytest.param("postgresql", tempest.SUITES, id="postgresql", marks=pytest.mark.long),
        pytest.param("mariadb", tempest.SUITES, id="mariadb", marks=pytest.mark.long),
    ],
)
def test_image_api_conforms(
    request: pytest.FixtureRequest, tmp_path: Path, keystone: Keystone, kind: str, only: tuple[str, ...]
) -> None:
    secure_hash = kind == "sqlite"
    weights = (0, 0, 0) if secure_hash else (200, 100, 10)
    database = {} if kind == "sqlite" else {"url": request.getfixturevalue(f"{kind}_url")}
    with tempest.image_files(tmp_path) as files:
        settings = {
            **with_keystone(keystone),
            "database": database,
            "stores": [
                {"id": "fast", "directories": [str(tmp_path / "fast")], "weight": weights[0]},
                {"id": "slow", "directories": [str(tmp_path / "slow")], "weight": weights[1]},
                {"id": "web", "type": "http", "weight": weights[2]},
            ],
            "api": {"show_locations": True, "show_direct_url": True, "secure_hash": secure_hash},
            # The suite uploads random bytes as every format there is.
            "data": {"require_format_match": False},
            "fetch": {"allowed_ports": [int(files.rpartition(":")[2])], "allowed_networks": ["127.0.0.0/8"]},
        }
        features = {
            "manage_locations": "true",
            "http_store_enabled": "true",
            "image_format_enforcement": "false",
            "do_secure_hash": str(secure_hash).lower(),
            "store_weight_enabled": str(any(weights)).lower(),
        }
        run = tmp_path / "tempest"
        run.mkdir()
        with image_service(tmp_path / "service", settings) as service, keystone.endpoint("image", service.url):
            outcome = tempest.run(
                keystone, files, run, options={"image-feature-enabled": features}, exclude=list(EXCLUDED), only=only
            )
    print(f"{kind}: {len(outcome.passed)} passed, {len(outcome.failed)} failed, {len(outcome.skipped)} skipped")
    assert not outcome.failed, "\n\n".join(f"{name}\n{text[-1500:]}" for name, text in outcome.failed.items())
    assert set(outcome.skipped.values()) <= SKIPS
    assert len(outcome.passed) >= FEWEST[only], sorted(outcome.passed)
    assert "Traceback" not in service.log.read_text()
