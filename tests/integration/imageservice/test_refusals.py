"""What people read when the service refuses: each client prints the service's own sentence, over every transport."""

from __future__ import annotations

import contextlib
import json
import os
import random
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import openstack
import pytest
import requests

from pipeline.base.home import CHECKOUT
from pipeline.host.system import process
from tests.environments import client_lines, tls
from tests.environments.ansible import ansible
from tests.environments.daemon import free_port, scratch
from tests.environments.fixtures import installed
from tests.environments.imageservice import ImageService, image_service
from tests.environments.nginx import nginx
from tests.integration.imageservice.lifecycle.transfer.test_upload import qcow2

pytestmark = pytest.mark.server
MIB = 1 << 20
LARGEST = 2 * MIB
TRANSPORTS = ("http", "tls", "nginx")
CLIENTS = ("openstack", "glance", "openstacksdk", "ansible", "curl")
FORMATS = {"disk_format": "raw", "container_format": "bare"}


@dataclass(frozen=True)
class Refusal:
    """Something that is refused: what is asked for, by whom, and what the service says to it.

    ``fields``: of an image that is made; ``file``: its data, by name. ``act``: what is done instead with an image;
    ``on``: its name in ``Front.images``. ``own``: what a client says in its own words, in place of the service's.
    ``never``: clients that cannot ask for it, and why.
    """

    sentence: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    file: str | None = None
    act: Literal["make", "rename", "delete", "show", "share"] = "make"
    on: str = ""
    user: str = "alice"
    own: Mapping[str, str] = field(default_factory=dict)
    never: Mapping[str, str] = field(default_factory=dict)

    def words(self, client: str) -> str:
        """What people read who use ``client``."""
        return self.own.get(client, self.sentence)


ID = str(uuid.uuid4())
REFUSALS = {
    # glanceclient has a sentence of its own for each 401.
    "token": Refusal("no valid X-Auth-Token", user="nobody", own={"glance": "Invalid OpenStack Identity credentials."}),
    "reader": Refusal("You are not authorized to complete add_image action.", user="rita"),
    "public": Refusal("You are not authorized to complete publicize_image action.", {"visibility": "public"}),
    # glanceclient holds names and formats against the service's schema itself, before it sends them.
    "name": Refusal("is longer than 255 characters", {"name": "n" * 256}, own={"glance": "Unable to set 'name' to"}),
    "format": Refusal(
        "disk_format: 'vdi' is not one of",
        {"disk_format": "vdi"},
        own={"glance": "Unable to set 'disk_format' to 'vdi'. Reason: 'vdi' is not one of [None, 'raw', 'qcow2']"},
    ),
    "disk": Refusal("Invalid value '-1' for parameter 'min_disk': Cannot be a negative value.", {"min_disk": -1}),
    "reserved": Refusal("Attribute 'os_glance_mine' is reserved.", {"properties": {"os_glance_mine": "1"}}),
    "properties": Refusal(
        "The limit has been exceeded on the number of allowed image properties. Attempted: ",
        {"properties": {f"p{number}": "x" for number in range(9)}},
    ),
    "value": Refusal("The value of 'long' has 70000 bytes, at most 65535", {"properties": {"long": "x" * 70_000}}),
    "tags": Refusal(
        "The limit has been exceeded on the number of allowed image tags. Attempted: 6, Maximum: 4",
        {"tags": [f"t{number}" for number in range(6)]},
    ),
    "size": Refusal(f"The image is larger than {LARGEST} bytes, the most the service takes", file="large"),
    "content": Refusal("qcow2.backing_file: Image has a backing file", {"disk_format": "qcow2"}, file="backed"),
    # glanceclient has one sentence for each 403 to a deletion, whatever the answer says.
    "protected": Refusal(
        "is protected and cannot be deleted.",
        act="delete",
        on="protected",
        own={"glance": "You are not permitted to delete the image"},
    ),
    "foreign": Refusal(
        "You are not authorized to complete delete_image action.",
        act="delete",
        on="foreign",
        own={"glance": "You are not permitted to delete the image"},
    ),
    "rename": Refusal("You are not authorized to complete modify_image action.", act="rename", on="foreign"),
    "share": Refusal(
        "Only shared images have members.",
        act="share",
        on="private",
        never={"ansible": "openstack.cloud has no module for members"},
    ),
    "taken": Refusal(
        f"Image ID {ID} already exists!", {"id": ID}, never={"ansible": "it changes the image of that id"}
    ),
    # openstackclient looks for names as well, after which the answer to the id is not the last one.
    "missing": Refusal(
        "No image found with ID",
        act="show",
        on="missing",
        own={"openstack": "No Image found for 00000000-0000-0000-0000-000000000007"},
        never={"ansible": "an image that is not there is an empty list to openstack.cloud.image_info"},
    ),
}


@dataclass(frozen=True)
class Front:
    """The way to a service: its URL, what a client has to trust (none for HTTP), images that are there, and data."""

    url: str
    authority: Path | None
    folder: Path
    images: Mapping[str, str]

    def file(self, refusal: Refusal) -> Path | None:
        return self.folder / refusal.file if refusal.file else None


@pytest.fixture(scope="module")
def front(request: pytest.FixtureRequest) -> Iterator[Front]:
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch("refusals"))
        made = tls.for_loopback(folder)
        # Patient, since clients share the processors with other tests.
        server: dict[str, Any] = {"processes": 1, "idle_timeout": 300}
        if request.param == "tls":
            server["tls"] = {"certificate": str(made.certificate), "key": str(made.key)}
        service = stack.enter_context(
            image_service(
                folder,
                authority=made.authority if request.param == "tls" else None,
                server=server,
                data={"upload_lease": 60},
                quotas={"image_size": LARGEST, "image_properties": 6, "image_tags": 4},
                api={"disk_formats": ["raw", "qcow2"]},
            )
        )
        url = stack.enter_context(_nginx(service, made)) if request.param == "nginx" else service.url
        authority = None if request.param == "http" else made.authority
        (folder / "large").write_bytes(os.urandom(8 * MIB))
        (folder / "small").write_bytes(b"data")
        (folder / "backed").write_bytes(qcow2(backing=512))
        yield Front(url, authority, folder, _images(url, authority))
        assert "Traceback" not in service.log.read_text()


@contextlib.contextmanager
def _nginx(service: ImageService, made: tls.Certificate) -> Iterator[str]:
    port = free_port()
    changes = {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/nginx/images.pem": str(made.certificate),
        "/etc/nginx/images.key": str(made.key),
        "http://127.0.0.1:9292": service.url,
    }
    text = (CHECKOUT / "docs" / "nginx.conf").read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    with installed(nginx(text, port=port)):
        yield f"https://127.0.0.1:{port}"


def _images(url: str, authority: Path | None) -> dict[str, str]:
    def make(user: str, **fields: Any) -> str:
        answer = requests.post(
            f"{url}/v2/images",
            json={**FORMATS, **fields},
            headers={"X-Auth-Token": f"{user}-token"},
            verify=str(authority) if authority else True,
            timeout=300,
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    return {
        "taken": make("alice", id=ID, name="taken"),
        "protected": make("alice", name="protected", protected=True),
        "foreign": make("admin", name="foreign", visibility="public"),
        "private": make("alice", name="private", visibility="private"),
        "missing": str(uuid.UUID(int=7)),
    }


def typed(client: str, front: Front, refusals: Sequence[Refusal]) -> list[str]:
    """What the command lines of a client print."""
    printed: dict[int, str] = {}
    # openstackclient keeps the first line's token for those after it in the same process.
    for user in {refusal.user for refusal in refusals}:
        numbers = [number for number, refusal in enumerate(refusals) if refusal.user == user]
        lines = [_WORDS[client](front, refusals[number]) for number in numbers]
        outcomes = client_lines.run(client, lines, env={})
        assert all(outcome.status for outcome in outcomes), outcomes
        printed |= {number: one.out + one.err for number, one in zip(numbers, outcomes, strict=True)}
    return [printed[number] for number in range(len(refusals))]


def _openstack(front: Front, refusal: Refusal) -> list[str]:
    words = ["--os-auth-type", "admin_token", "--os-token", f"{refusal.user}-token", "--os-endpoint", front.url]
    words += ["--os-cacert", str(front.authority)] if front.authority else []
    image = front.images.get(refusal.on, "")
    acts = {
        "delete": ["delete", image],
        "rename": ["set", image, "--name=y"],
        "show": ["show", image],
        "share": ["add", "project", image, "p"],
    }
    if refusal.act != "make":
        return [*words, "image", *acts[refusal.act]]
    given = dict(refusal.fields)
    words += ["image", "create", given.pop("name", "x"), "--container-format", "bare"]
    words += ["--disk-format", given.pop("disk_format", "raw")]
    words += [f"--{given.pop('visibility')}"] if "visibility" in given else []
    words += [f"--min-disk={given.pop('min_disk')}"] if "min_disk" in given else []
    words += ["--id", given.pop("id")] if "id" in given else []
    for name, value in given.pop("properties", {}).items():
        words += ["--property", f"{name}={value}"]
    for tag in given.pop("tags", ()):
        words += ["--tag", tag]
    assert not given
    file = front.file(refusal)
    return [*words, "--file", str(file)] if file else words


def _glance(front: Front, refusal: Refusal) -> list[str]:
    words = ["--os-auth-token", f"{refusal.user}-token", "--os-image-url", front.url]
    words += ["--os-cacert", str(front.authority)] if front.authority else []
    image = front.images.get(refusal.on, "")
    acts = {
        "delete": ["image-delete", image],
        "rename": ["image-update", image, "--name", "y"],
        "share": ["member-create", image, "p"],
        "show": ["image-show", image],
    }
    if refusal.act != "make":
        return [*words, *acts[refusal.act]]
    given = {"name": "x", **FORMATS, **refusal.fields}
    words.append("image-create")
    for name, value in given.pop("properties", {}).items():
        words += ["--property", f"{name}={value}"]
    tags = given.pop("tags", ())
    words += ["--tags", *tags] if tags else []
    words += [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    file = front.file(refusal)
    return [*words, "--file", str(file)] if file else words


_WORDS: Mapping[str, Callable[[Front, Refusal], list[str]]] = {"openstack": _openstack, "glance": _glance}


def by_sdk(front: Front, refusals: Sequence[Refusal]) -> list[str]:
    """What the exceptions of openstacksdk say."""
    return [_by_sdk(front, refusal) for refusal in refusals]


def _by_sdk(front: Front, refusal: Refusal) -> str:
    cloud = openstack.connect(
        load_yaml_config=False,
        load_envvars=False,
        auth_type="admin_token",
        auth={"endpoint": front.url, "token": f"{refusal.user}-token"},
        verify=str(front.authority) if front.authority else True,
    )
    with cloud, pytest.raises(openstack.exceptions.SDKException) as refused:
        image = front.images.get(refusal.on, "")
        if refusal.act == "delete":
            cloud.image.delete_image(image)
        elif refusal.act == "rename":
            cloud.image.update_image(image, name="y")
        elif refusal.act == "share":
            cloud.image.add_member(image, member_id="p")
        elif refusal.act == "show":
            cloud.image.get_image(image)
        else:
            # A name that is there twice is refused by the SDK itself.
            given = {"name": f"x{uuid.uuid4()}", **FORMATS, **refusal.fields}
            properties = given.pop("properties", {})
            file = front.file(refusal)
            cloud.image.create_image(**given, **properties, **({"filename": str(file)} if file else {}))
    return str(refused.value)


def by_ansible(front: Front, refusals: Sequence[Refusal]) -> list[str]:
    """What the tasks of a playbook fail with."""
    results = ansible().play([_task(front, refusal) for refusal in refusals], front.folder)
    assert all(result["failed"] for result in results), results
    return [result["msg"] for result in results]


def _task(front: Front, refusal: Refusal) -> dict[str, Any]:
    way: dict[str, Any] = {
        "auth_type": "admin_token",
        "auth": {"endpoint": front.url, "token": f"{refusal.user}-token"},
        **({"ca_cert": str(front.authority)} if front.authority else {}),
    }
    image = front.images.get(refusal.on, "")
    acts = {"delete": {"name": image, "state": "absent"}, "rename": {"name": "y", "id": image, "visibility": "public"}}
    made = {"name": f"x{uuid.uuid4()}", **FORMATS, **refusal.fields}
    wanted = made if refusal.act == "make" else acts[refusal.act]
    # Without data the module waits for the image to become active, before it sends the properties.
    file = front.file(refusal) or front.folder / "small"
    wanted |= {"filename": str(file)} if refusal.act == "make" else {}
    return {"openstack.cloud.image": {**way, **wanted}}


def by_curl(front: Front, refusals: Sequence[Refusal]) -> list[str]:
    """What curl prints."""
    return [_by_curl(front, refusal) for refusal in refusals]


def _by_curl(front: Front, refusal: Refusal) -> str:
    words: list[str | Path] = ["curl", "-sS", "-H", f"X-Auth-Token: {refusal.user}-token"]
    words += ["--cacert", front.authority] if front.authority else []
    images = f"{front.url}/v2/images"
    image = f"{images}/{front.images.get(refusal.on)}"
    change = ["-H", "Content-Type: application/openstack-images-v2.1-json-patch", "-X", "PATCH", "--data-binary", "@-"]
    if refusal.act == "rename":
        return _said([*words, *change, image], b'[{"op": "replace", "path": "/name", "value": "y"}]')
    if refusal.act == "share":
        json_of = ["-H", "Content-Type: application/json", "--data-binary", "@-"]
        return _said([*words, *json_of, f"{image}/members"], b'{"member": "p"}')
    if refusal.act != "make":
        return _said([*words, "-X", "DELETE" if refusal.act == "delete" else "GET", image])
    given = {**FORMATS, **refusal.fields}
    body = json.dumps({**given.pop("properties", {}), **given}).encode()
    made = _said([*words, "-H", "Content-Type: application/json", "--data-binary", "@-", images], body)
    file = front.file(refusal)
    if file is None:
        return made
    octets = ["-H", "Content-Type: application/octet-stream", "-T", str(file)]
    return _said([*words, *octets, f"{images}/{json.loads(made)['id']}/file"])


def _said(words: Sequence[str | Path], body: bytes = b"") -> str:
    return process.run(words, stdin=body, timeout=300).stdout


ASK: Mapping[str, Callable[[Front, Sequence[Refusal]], list[str]]] = {
    "openstack": lambda front, refusals: typed("openstack", front, refusals),
    "glance": lambda front, refusals: typed("glance", front, refusals),
    "openstacksdk": by_sdk,
    "ansible": by_ansible,
    "curl": by_curl,
}


def possible(client: str) -> list[str]:
    return [name for name, refusal in REFUSALS.items() if client not in refusal.never]


def assert_said(client: str, front: Front, names: Sequence[str]) -> None:
    printed = ASK[client](front, [REFUSALS[name] for name in names])
    bad = {name: said for name, said in zip(names, printed, strict=True) if not _fit(client, REFUSALS[name], said)}
    assert not bad, bad


def _fit(client: str, refusal: Refusal, said: str) -> bool:
    """Whether it is what people should read: the sentence, once, and neither a page's tags nor a traceback."""
    page = "<html" in said and client != "curl"
    return " ".join(said.split()).count(refusal.words(client)) == 1 and not page and "Traceback" not in said


def sample() -> list[tuple[str, str]]:
    """Each client over one transport, and all transports; ``PIPELINE_SEED`` chooses."""
    first = _dice("transport").randrange(len(TRANSPORTS))
    return sorted((TRANSPORTS[(first + number) % len(TRANSPORTS)], client) for number, client in enumerate(CLIENTS))


def _dice(what: str) -> random.Random:
    return random.Random(f"{os.environ.get('PIPELINE_SEED', '17')} {what}")


@pytest.mark.parametrize(("front", "client"), sample(), indirect=["front"], scope="module")
def test_some_refusals_are_read(front: Front, client: str) -> None:
    """Two kinds for each client: it is their start that takes the time."""
    assert_said(client, front, _dice(client).sample(possible(client), 2))


@pytest.mark.long
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("front", TRANSPORTS, indirect=True)
def test_every_refusal_is_read(front: Front, client: str) -> None:
    assert sum(client not in REFUSALS[name].own for name in possible(client)) >= 12
    assert_said(client, front, possible(client))
