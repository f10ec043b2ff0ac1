"""Every document that a call answers fits the schema that is published for it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from tests.integration.imageservice.api.world import Api, Person, image_id

ID = "11111111-2222-3333-4444-555555555555"
PROPERTIES: dict[str, list[Any]] = {
    "kernel_id": [None, ID],
    "ramdisk_id": [None, ID],
    "description": ["", "x"],
    "architecture": ["", "x86_64"],
    "cinder_encryption_key_deletion_policy": ["do_not_delete"],
    "any thing": ["", "é"],
}
IMPORT = {
    "import_from": "http://a.example/x",
    "import_from_format": "raw",
    "image_properties": {"disk_format": "raw", "container_format": "bare"},
}
FIELDS: dict[str, list[Any]] = {
    "name": [None, "", "n"],
    "disk_format": [None, "raw"],
    "container_format": [None, "bare"],
    "min_ram": [0, 5],
    "tags": [[], ["t"]],
    "protected": [False],
    "os_hidden": [True, False],
}


def documents(api: Api, person: Person, path: str) -> list[tuple[str, Any]]:
    """Every document of an image, with the name of its schema."""
    found = [("image", person.get(path).json), ("images", person.get("/v2/images?limit=2").json)]
    found.append(("members", person.get(f"{path}/members").json))
    found += [("member", person.get(f"{path}/members/{each['member_id']}").json) for each in found[-1][1]["members"]]
    tasks = api.admin.get("/v2/tasks")
    found.append(("tasks", tasks.json))
    found += [("task", api.admin.get(each["self"]).json) for each in tasks.json["tasks"][:2]]
    return found


def step(choose: random.Random, person: Person, path: str) -> None:
    """One call that may change the image; a refusal is as good."""
    name = choose.choice([*PROPERTIES, *FIELDS])
    value = choose.choice({**PROPERTIES, **FIELDS}[name])
    verb = choose.choice(["add", "replace", "remove"] if name in PROPERTIES else ["replace"])
    operation = {"op": verb, "path": f"/{name}", **({} if verb == "remove" else {"value": value})}
    match choose.randrange(6):
        case 0:
            person.post(f"{path}/members", {"member": choose.choice("abc")})
        case 1:
            person.call("PUT", f"{path}/file", data=b"data", headers={"Content-Type": "application/octet-stream"})
        case 2:
            person.post(f"{path}/actions/{choose.choice(['deactivate', 'reactivate'])}")
        case 3:
            header = {
                "x-image-meta-property-kernel_id": choose.choice(["", ID]),
                "x-glance-registry-purge-props": "false",
            }
            person.call("PUT", path.replace("/v2/", "/v1/"), headers=header)
        case _:
            person.patch(path, [operation])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shown", [False, True], ids=["locations hidden", "locations shown"])
def test_every_document_fits_its_schema(make_api: Callable[..., Api], seed: int, shown: bool) -> None:
    api = make_api(api={"version_1": True, "show_locations": shown, "show_direct_url": shown})
    choose = random.Random(seed)
    schemas = {name: api.alice.get(f"/v2/schemas/{name}").json for name in
               ("image", "images", "member", "members", "task", "tasks")}  # fmt: skip
    fields = {name: choose.choice(values) for name, values in FIELDS.items() if choose.random() < 0.5}
    properties = {name: choose.choice(values) for name, values in PROPERTIES.items() if choose.random() < 0.5}
    path = api.alice.create(**fields, **properties)
    api.admin.post("/v2/tasks", {"type": "import", "input": IMPORT})
    for _ in range(12):
        for name, document in documents(api, api.alice, path):
            jsonschema.validate(document, schemas[name])
        step(choose, api.alice, path)


def test_an_image_without_a_kernel_can_be_edited_by_who_checks_it(make_api: Callable[..., Api]) -> None:
    api = make_api()
    path = api.alice.create(kernel_id=None)
    assert api.alice.get(path).json["kernel_id"] is None
    listed = {image["id"]: image for image in api.alice.get("/v2/images").json["images"]}
    assert listed[image_id(path)]["kernel_id"] is None
    assert api.alice.patch(path, [{"op": "replace", "path": "/name", "value": "x"}]).status_code == 200
