"""What Nova does with a signed image before it boots it, against a real Barbican."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import castellan.options
import pytest
import yaml
from castellan import key_manager as castellan_manager
from cryptography.exceptions import InvalidSignature
from cursive import certificate_utils, signature_utils
from cursive import exception as cursive_exception
from oslo_config import cfg
from oslo_context.context import RequestContext

from pipeline.base.home import Home
from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.data.certificates import Certificates
from pipeline.publishing.cloud import connect as cloud_connect
from pipeline.publishing.cloud.ownership_marker import ImagePart
from pipeline.publishing.publish_one import publish_one
from pipeline.publishing.sender import Sender
from pipeline.publishing.sources.files import ReadyFiles
from pipeline.publishing.transaction.transaction import PublishOutcome
from pipeline.recipes.nightly import Target
from pipeline.signing import image_signature
from pipeline.signing.image_signature import SignatureReason, SignatureRefused
from pipeline.signing.keys.key_folder import AUTHORITY
from pipeline.signing.keys.key_manager import KeyManager
from pipeline.signing.keys.keyring import Keyring
from pipeline.signing.trust.certificates import CertificateMissing
from tests.environments import barbican as environment
from tests.environments.barbican import Barbican
from tests.environments.deployed_service import image_service, with_keystone
from tests.environments.fixtures import installed
from tests.environments.keystone import REGION, Keystone

pytestmark = pytest.mark.server
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def barbican(keystone: Keystone) -> Iterator[Barbican]:
    with installed(environment.barbican(keystone)) as server:
        yield server


def manager(keystone: Keystone, user: str = "demo") -> KeyManager:
    connection = keystone.connect(user)
    return KeyManager(connection.session.auth, project=connection.current_project_id)


class Nova:
    """A booting user's side: cursive, with castellan as Nova sets it up."""

    def __init__(self, keystone: Keystone, monkeypatch: pytest.MonkeyPatch) -> None:
        conf = cfg.ConfigOpts()
        conf([], project="nova", default_config_files=[])
        castellan.options.set_defaults(conf, backend="barbican", auth_endpoint=keystone.url)
        real = castellan_manager.API
        monkeypatch.setattr(signature_utils.key_manager, "API", lambda given=None: real(given or conf))
        with keystone.connect("demo") as connection:
            self.context = RequestContext(auth_token=connection.auth_token, project_id=connection.current_project_id)

    def boot(self, properties: dict[str, str], data: bytes, trusted: list[str]) -> None:
        """The order of nova/image/glance.py: verifier from the properties, the chain, then the bytes."""
        verifier = signature_utils.get_verifier(
            self.context, **{name: properties[name] for name in image_signature.PROPERTIES}
        )
        certificate_utils.verify_certificate(self.context, properties[image_signature.CERTIFICATE], trusted)
        verifier.update(data)
        verifier.verify()


def test_nova_boots_what_we_sign_and_nothing_else(
    barbican: Barbican, keystone: Keystone, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = Keyring(home, passphrases=lambda _: None)
    signer = keyring.signer("default")
    ours = manager(keystone)
    leaf = ours.store(keyring.certificates.get(signer.certificate), "image signing key")
    root = ours.store(keyring.certificates.get(keyring.record(AUTHORITY).active.certificate), "authority")
    image = tmp_path / "image"
    image.write_bytes(b"image" * 1000)
    signed = dict(image_signature.sign(image, signer).properties)
    properties = {**signed, image_signature.CERTIFICATE: leaf.rpartition("/")[2]}

    nova = Nova(keystone, monkeypatch)
    nova.boot(properties, image.read_bytes(), [root.rpartition("/")[2]])
    with pytest.raises(InvalidSignature):
        nova.boot(properties, b"other" * 1000, [root.rpartition("/")[2]])
    with pytest.raises(cursive_exception.SignatureVerificationError):
        nova.boot(properties, image.read_bytes(), [])

    image_signature.verify_file(image, properties, ours)
    with pytest.raises(CertificateMissing, match="no certificate"):
        manager(keystone, "alt").get(properties[image_signature.CERTIFICATE])
    absent = {**properties, image_signature.CERTIFICATE: "00000000-0000-4000-8000-000000000000"}
    with pytest.raises(SignatureRefused, match="key manager has no certificate"):
        image_signature.verify_file(image, absent, ours)


def test_the_image_service_fetches_with_the_callers_token(
    barbican: Barbican, keystone: Keystone, home: Home, tmp_path: Path
) -> None:
    keyring = Keyring(home, passphrases=lambda _: None)
    signer = keyring.signer("default")
    identity = manager(keystone).store(keyring.certificates.get(signer.certificate), "image signing key")
    image = tmp_path / "image"
    image.write_bytes(b"image" * 1000)
    properties = {**image_signature.sign(image, signer).properties, image_signature.CERTIFICATE: identity}

    def source(user: str) -> Certificates:
        return Certificates(tmp_path / "none", barbican.url, Caller(project="p", token=keystone.token(user)))

    image_signature.verify_file(image, properties, source("demo"))
    with pytest.raises(SignatureRefused) as refused:
        image_signature.verify_file(image, properties, source("alt"))
    assert refused.value.reason is SignatureReason.NO_CERTIFICATE


def test_a_published_certificate_is_signed_with_its_id_there(
    barbican: Barbican, keystone: Keystone, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = Keyring(home, passphrases=lambda _: None)
    keyring.signer("default")
    kept = keyring.publish("default", manager(keystone).store)
    image = tmp_path / "image"
    image.write_bytes(b"image" * 1000)
    properties = dict(image_signature.sign(image, keyring.signer("default")).properties)
    assert properties[image_signature.CERTIFICATE] == kept["image signing key default"]
    Nova(keystone, monkeypatch).boot(properties, image.read_bytes(), [kept["authority"]])
    image_signature.verify_file(image, properties, keyring.certificates)


@pytest.fixture
def cloud(
    barbican: Barbican, keystone: Keystone, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A cloud with a key manager and our image service, which trusts the authority whose certificate is kept there."""
    entry = {"auth": keystone.connect("demo").config.config["auth"], "region_name": REGION}
    (tmp_path / "clouds.yaml").write_text(yaml.safe_dump({"clouds": {"boots": entry}}))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    keyring = Keyring(home, passphrases=lambda _: None)
    keyring.signer("default")
    auth, project = cloud_connect.session(home, "boots")
    kept = keyring.publish("default", KeyManager(auth, project=project).store)
    judged = {"certificates": str(tmp_path / "none"), "key_manager": "catalog"}
    settings = {**with_keystone(keystone), "data": {**judged, "trusted_certificates": [kept["authority"]]}}
    with image_service(tmp_path / "service", settings) as service, keystone.endpoint("image", service.url):
        yield kept["authority"]


def test_nova_boots_what_we_publish(
    cloud: str, keystone: Keystone, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "disk.raw"
    file.write_bytes(b"\0bootable\xff" * 102_400)
    keyring = Keyring(home, passphrases=lambda _: None)
    source = ReadyFiles(home, "golden", {ImagePart.DISK: file}, signer=keyring.signer("default")).source("tests", NOW)
    publish_result = publish_one(source, Target(cloud="boots"), Sender(home, "run"))
    assert (publish_result.outcome, publish_result.error) == (PublishOutcome.PUBLISHED, None)

    # Everything from here on is what Nova's compute service knows: the cloud's API and the user's token.
    with keystone.connect("demo") as connection:
        image = connection.image.find_image("golden", ignore_missing=False).to_dict()
        data = connection.image.download_image(image["id"]).content
        properties = {name: image["properties"].get(name) or image[name] for name in image_signature.PROPERTIES}
    nova = Nova(keystone, monkeypatch)
    nova.boot(properties, data, [cloud])
    with pytest.raises(InvalidSignature):
        nova.boot(properties, data[:-1] + b"x", [cloud])
    with pytest.raises(cursive_exception.SignatureVerificationError):
        nova.boot(properties, data, [properties[image_signature.CERTIFICATE]])


def test_a_cloud_refuses_what_its_authority_does_not_vouch_for(cloud: str, home: Home, tmp_path: Path) -> None:
    file = tmp_path / "disk.raw"
    file.write_bytes(b"\0bootable\xff" * 1024)
    stranger = Home(tmp_path / "stranger", tmp_path / "cache")
    keyring = Keyring(stranger, passphrases=lambda _: None)
    keyring.signer("default")
    auth, project = cloud_connect.session(home, "boots")
    keyring.publish("default", KeyManager(auth, project=project).store)
    source = ReadyFiles(stranger, "strange", {ImagePart.DISK: file}, signer=keyring.signer("default")).source(
        "tests", NOW
    )
    publish_result = publish_one(source, Target(cloud="boots"), Sender(stranger, "run"))
    assert publish_result.outcome is PublishOutcome.FAILED
    assert publish_result.error is not None and "no trusted certificate vouches" in str(publish_result.error)
