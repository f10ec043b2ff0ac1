"""Tags, actions, schemas, information, tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from pipeline.imageservice.catalog.tasks import queue as task_queue
from pipeline.imageservice.model.tasks import TaskStatus
from tests.integration.imageservice.api.world import Api, image_id, message


def test_tags(api: Api) -> None:
    path = api.alice.create(tags=["old"])
    for tag in ("new", "new", "x" * 255, "a b", "ü"):
        answer = api.alice.put(f"{path}/tags/{tag}")
        assert (answer.status_code, answer.content) == (204, b"")
    assert api.alice.get(path).json["tags"] == ["old", "new", "x" * 255, "a b", "ü"]
    assert api.alice.delete(f"{path}/tags/old").status_code == 204
    assert api.alice.delete(f"{path}/tags/old").status_code == 404
    assert api.alice.put(f"{path}/tags/{'x' * 256}").status_code == 400
    assert api.rita.put(f"{path}/tags/t").status_code == 403
    assert api.bob.put(f"{path}/tags/t").status_code == 404
    assert api.bob.delete(f"{path}/tags/new").status_code == 404


def test_tags_are_limited(make_api: Callable[..., Api]) -> None:
    api = make_api(quotas={"image_tags": 1})
    path = api.alice.create(tags=["a"])
    assert api.alice.put(f"{path}/tags/a").status_code == 204
    assert api.alice.put(f"{path}/tags/b").status_code == 413


def test_actions(api: Api) -> None:
    path = api.alice.active(b"data")
    for _ in range(2):
        assert api.alice.post(f"{path}/actions/deactivate").status_code == 204
        assert api.alice.get(path).json["status"] == "deactivated"
    assert api.alice.get(f"{path}/file").status_code == 403
    assert api.admin.get(f"{path}/file").status_code == 200
    for _ in range(2):
        assert api.alice.post(f"{path}/actions/reactivate").status_code == 204
        assert api.alice.get(path).json["status"] == "active"
    assert api.alice.get(f"{path}/file").content == b"data"
    assert api.bob.post(f"{path}/actions/deactivate").status_code == 404
    assert api.rita.post(f"{path}/actions/deactivate").status_code == 403
    assert api.alice.post(f"{path}/actions/explode").status_code == 404
    queued = api.alice.create()
    for action in ("deactivate", "reactivate"):
        assert api.alice.post(f"{queued}/actions/{action}").status_code == 403
    assert api.alice.delete(path).status_code == 204


@pytest.mark.parametrize("name", ["image", "images", "member", "members", "task", "tasks"])
def test_schemas(api: Api, name: str) -> None:
    schema = api.rita.get(f"/v2/schemas/{name}").json
    assert schema["name"] == name
    jsonschema.validators.validator_for(schema).check_schema(schema)


def test_documents_keep_to_their_schemas(api: Api) -> None:
    path = api.alice.active(b"data", name="x", any="thing", kernel_id="11111111-2222-3333-4444-555555555555")
    api.alice.post(f"{path}/members", {"member": "m"})
    documents = {
        "image": api.alice.get(path).json,
        "images": api.alice.get("/v2/images").json,
        "member": api.alice.get(f"{path}/members/m").json,
        "members": api.alice.get(f"{path}/members").json,
        "tasks": api.admin.get("/v2/tasks").json,
    }
    for name, document in documents.items():
        jsonschema.validate(document, api.alice.get(f"/v2/schemas/{name}").json)


def test_formats_follow_the_settings(make_api: Callable[..., Api]) -> None:
    api = make_api(api={"disk_formats": ["raw", "gpt"], "container_formats": ["bare"]})
    properties = api.alice.get("/v2/schemas/image").json["properties"]
    assert properties["disk_format"]["enum"] == [None, "raw", "gpt"]
    assert properties["container_format"]["enum"] == [None, "bare"]
    assert api.alice.post("/v2/images", {"disk_format": "gpt"}).status_code == 201
    assert api.alice.post("/v2/images", {"disk_format": "qcow2"}).status_code == 400


def test_usage_without_limits(api: Api) -> None:
    assert api.rita.get("/v2/info/usage").json == {"usage": {}}


def test_tasks_are_for_administrators(api: Api) -> None:
    for person in (api.alice, api.rita):
        assert person.get("/v2/tasks").status_code == 403
        assert person.post("/v2/tasks", {"type": "import", "input": {}}).status_code == 403
        assert person.get("/v2/tasks/x").status_code == 403
        assert person.delete("/v2/tasks/x").status_code == 403
    answer = api.admin.delete("/v2/tasks/x")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


def test_a_task(api: Api) -> None:
    answer = api.admin.post("/v2/tasks", {"type": "import", "input": {"import_from_format": "qcow2"}})
    assert answer.status_code == 201
    task = answer.json
    assert answer.headers["location"] == f"http://falconframework.org/v2/tasks/{task['id']}"
    assert (task["type"], task["status"], task["owner"]) == ("import", "pending", api.admin.project)
    assert (task["input"], task["result"], task["message"]) == ({"import_from_format": "qcow2"}, None, "")
    assert task["request_id"] == answer.headers["x-openstack-request-id"]
    assert (task["self"], task["schema"]) == (f"/v2/tasks/{task['id']}", "/v2/schemas/task")
    assert "expires_at" not in task
    assert api.admin.get(task["self"]).json == task
    jsonschema.validate(task, api.admin.get("/v2/schemas/task").json)
    stub = next(one for one in api.admin.get("/v2/tasks").json["tasks"] if one["id"] == task["id"])
    assert not {"input", "result", "message"} & set(stub)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"type": "import"},
        {"input": {}},
        {"type": "explode", "input": {}},
        {"type": "api_image_import", "input": {}},
        {"type": "import", "input": []},
        {"type": "import", "input": {}},
        {"type": "import", "input": None},
        {"type": "import", "input": "http://mirror.example.org/x"},
        {"type": "import", "input": {"import_from": None}},
        {"type": "import", "input": {"import_from": ["http://mirror.example.org/x"]}},
        {"type": "import", "input": {"import_from_format": 5}},
        {"type": "import", "input": {"import_from_format": "raw", "image_properties": "x"}},
        {"type": "import", "input": {"import_from_format": "raw", "image_properties": []}},
        {"type": "import", "input": {}, "status": "success"},
        {"type": "import", "input": {"import_from": "file:///etc/passwd"}},
        {"type": "import", "input": {"import_from": "swift://x/y"}},
        {"type": "import", "input": {"import_from": 5}},
        {"type": "import", "input": {"import_from": "http://127.0.0.1/x"}},
        {"type": "import", "input": {"import_from": "http://169.254.169.254/latest"}},
        {"type": "import", "input": {"import_from": "http://[::ffff:10.0.0.1]/x"}},
        {"type": "import", "input": {"import_from": "http://2130706433/x"}},
    ],
    ids=str,
)
def test_tasks_that_make_no_sense(api: Api, body: Any) -> None:
    answer = api.admin.post("/v2/tasks", body)
    assert answer.status_code == 400
    assert message(answer)


def test_lists_of_tasks(api: Api) -> None:
    body = {"type": "import", "input": {"import_from_format": "raw"}}
    made = [api.admin.post("/v2/tasks", body).json["id"] for _ in range(3)]
    owner = f"owner={api.admin.project}"

    def ids(query: str) -> list[str]:
        return [task["id"] for task in api.admin.get(f"/v2/tasks?{owner}&{query}").json["tasks"]]

    assert ids("") == made[::-1]
    assert ids("sort_dir=asc") == made
    assert ids("status=pending&type=import") == made[::-1]
    assert ids("status=success") == []
    page = api.admin.get(f"/v2/tasks?{owner}&limit=2").json
    assert [task["id"] for task in page["tasks"]] == made[:0:-1]
    assert [task["id"] for task in api.admin.get(page["next"]).json["tasks"]] == made[:1]
    assert page["schema"] == "/v2/schemas/tasks"
    for query in (
        "sort_dir=up",
        "sort_key=nonsense",
        "limit=x",
        "marker=x",
        "marker=11111111-2222-3333-4444-555555555555",
        "status=fine",
        "type=api_image_import",
    ):
        assert api.admin.get(f"/v2/tasks?{query}").status_code == 400, query


def test_the_tasks_of_an_image(api: Api) -> None:
    path = api.alice.create()
    assert api.alice.get(f"{path}/tasks").json == {"tasks": []}
    task = api.service.database.write(
        lambda connection: task_queue.create(
            connection, "api_image_import", owner=api.alice.project, input_={"a": 1}, image_id=image_id(path)
        )
    )
    shown = api.alice.get(f"{path}/tasks").json["tasks"]
    assert [one["id"] for one in shown] == [task.id]
    assert set(shown[0]) >= {
        *("id", "type", "status", "owner", "image_id", "request_id", "user_id", "input", "result", "message"),
        *("created_at", "updated_at", "expires_at", "deleted", "deleted_at"),
    }
    assert len(shown[0]["created_at"]) == len("2026-01-01T00:00:00.000000")
    assert api.admin.get(f"{path}/tasks").json["tasks"] == shown
    assert api.bob.get(f"{path}/tasks").status_code == 404
    assert api.alice.post(f"{path}/members", {"member": api.bob.project}).status_code == 200
    assert api.bob.get(f"{path}/tasks").json == {"tasks": []}
    done = api.service.database.write(
        lambda connection: task_queue.finish(connection, task, TaskStatus.SUCCESS, hours_to_live=0)
    )
    assert done.status.is_over
    assert api.alice.get(f"{path}/tasks").json == {"tasks": []}
    assert api.admin.get(f"/v2/tasks/{task.id}").status_code == 404
