"""What holds for every call: tokens, ids of requests, bodies, methods, shapes of errors, versions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from falcon import testing

from tests.integration.imageservice.api.world import Api, message

UNKNOWN = "/v2/images/11111111-2222-3333-4444-555555555555"


@pytest.mark.parametrize("path", ["/", "/versions", "/v2", "/healthcheck"])
def test_some_paths_need_no_token(api: Api, path: str) -> None:
    assert api.nobody.get(path).status_code in (200, 300)


@pytest.mark.parametrize("path", ["/v2/images", "/v2/schemas/image", UNKNOWN, "/v2/nothing", "/v2/info/import"])
def test_everything_else_needs_one(api: Api, path: str) -> None:
    answer = api.nobody.get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"]
    assert api.nobody.get(path, headers={"X-Auth-Token": "wrong-token"}).status_code == 401


def test_versions_document(make_api: Callable[..., Api], api: Api) -> None:
    answer = api.nobody.get("/")
    assert answer.status_code == 300
    assert api.nobody.get("/versions").status_code == 200
    assert api.nobody.get("/versions").json == answer.json
    versions = {one["id"]: one for one in answer.json["versions"]}
    assert set(versions) == {f"v2.{minor}" for minor in (*range(14), 15, 17)}
    assert [one["id"] for one in versions.values() if one["status"] == "CURRENT"] == ["v2.17"]
    assert {one["status"] for one in versions.values()} == {"CURRENT", "SUPPORTED"}
    assert all(one["links"] == [{"rel": "self", "href": "http://falconframework.org/v2/"}] for one in versions.values())
    alone = make_api(stores=[{"id": "only", "directories": ["/tmp/only"]}])
    ids = {one["id"] for one in alone.nobody.get("/versions").json["versions"]}
    assert ids == {f"v2.{minor}" for minor in (*range(8), 9, 15, 17)}


def test_links_name_the_public_endpoint(make_api: Callable[..., Api]) -> None:
    api = make_api(api={"public_endpoint": "https://cloud.example/image/"})
    links = {one["links"][0]["href"] for one in api.nobody.get("/versions").json["versions"]}
    assert links == {"https://cloud.example/image/v2/"}
    answer = api.alice.post("/v2/images", {})
    assert answer.headers["location"] == f"https://cloud.example/image/v2/images/{answer.json['id']}"
    assert answer.json["self"] == f"/v2/images/{answer.json['id']}"


@pytest.mark.parametrize("path", ["/v1/images", "/v3/images", "/v2.99/images", "/foo"])
def test_unknown_versions_get_the_versions_document(api: Api, path: str) -> None:
    answer = api.nobody.get(path)
    assert answer.status_code == 300
    assert "versions" in answer.json


def test_minor_versions_are_aliases(api: Api) -> None:
    path = api.alice.create(name="x")
    for prefix in ("/v2.0", "/v2.7", "/v2.17"):
        assert api.alice.get(path.replace("/v2", prefix)).json["name"] == "x"


def test_clients_with_the_bare_url_are_served(api: Api) -> None:
    """As openstackclient does with ``--os-auth-type admin_token`` and an endpoint without a version."""
    path = api.alice.create(name="x")
    assert api.alice.get(path.removeprefix("/v2")).json["name"] == "x"
    assert api.alice.get("/images").status_code == 200
    version = {"Accept": "application/vnd.openstack.images-v2.3"}
    assert api.alice.get("/images", headers=version).status_code == 200


def test_request_ids(api: Api) -> None:
    assert re.fullmatch(r"req-[0-9a-f-]{36}", api.alice.get("/v2/images").headers["x-openstack-request-id"])
    for sent, back in [("req-mine", "req-mine"), ("mine", "req-mine"), ("x" * 64, "req-" + "x" * 64)]:
        answer = api.alice.get("/v2/images", headers={"X-Openstack-Request-Id": sent})
        assert answer.headers["x-openstack-request-id"] == back
    answer = api.alice.get("/v2/images", headers={"X-Openstack-Request-Id": "x" * 65})
    assert answer.status_code == 431
    assert answer.headers["x-openstack-request-id"]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "text/html"),
        ("text/html", "text/html"),
        ("application/json", "application/json"),
        ("application/json, */*;q=0.1", "application/json"),
        ("text/plain", "text/plain"),
        ("", "application/json"),
        (" ", "application/json"),
        ("nonsense", "text/plain"),
    ],
)
def test_errors_come_in_the_shape_that_was_asked_for(api: Api, accept: str, kind: str) -> None:
    answer = api.alice.get(UNKNOWN, headers={"Accept": accept})
    assert answer.status_code == 404
    assert answer.headers["content-type"].partition(";")[0] == kind
    assert "No image found with ID 11111111" in answer.text
    if kind == "application/json":
        assert set(answer.json) == {"message", "code", "title"}


def test_a_client_that_names_no_shape_gets_the_sentence_in_json(api: Api) -> None:
    answer = api.client.simulate_get(UNKNOWN, headers={"X-Auth-Token": str(api.alice.token)})
    assert "No image found with ID 11111111" in answer.json["message"]


def test_the_heading_is_the_title(api: Api) -> None:
    # A client shows title and heading, and the text once, when they are alike.
    answer = api.alice.get(UNKNOWN, headers={"Accept": "*/*"})
    assert "<title>404 Not Found</title>" in answer.text
    assert "<h1>404 Not Found</h1>" in answer.text
    assert answer.text.count("No image found") == 1


def test_an_error_in_html_is_read_as_it_was_written(api: Api) -> None:
    """glanceclient and openstacksdk take the tags off, and nothing else."""
    answer = api.alice.post("/v2/images", {"os_glance_x": "1"}, headers={"Accept": "*/*"})
    assert "Attribute 'os_glance_x' is reserved." in answer.text


def test_an_error_in_html_is_escaped(api: Api) -> None:
    answer = api.alice.get("/v2/images?marker=<script>", headers={"Accept": "text/html"})
    assert "&lt;script&gt;" in answer.text
    assert "<script>" not in answer.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/images/{id}"),
        ("DELETE", "/v2/images/{id}"),
        ("GET", "/v2/images/{id}/tasks"),
        ("GET", "/v2/images/{id}/members"),
        ("GET", "/v2/images/{id}/members/x"),
        ("DELETE", "/v2/images/{id}/members/x"),
        ("PUT", "/v2/images/{id}/tags/x"),
        ("DELETE", "/v2/images/{id}/tags/x"),
        ("POST", "/v2/images/{id}/actions/deactivate"),
        ("POST", "/v2/images/{id}/actions/reactivate"),
        ("GET", "/v2/schemas/image"),
        ("GET", "/v2/schemas/members"),
        ("GET", "/v2/info/import"),
        ("GET", "/v2/info/usage"),
    ],
)
def test_a_body_where_none_belongs_is_refused(api: Api, method: str, path: str) -> None:
    path = path.replace("/v2/images/{id}", api.alice.create())
    assert api.alice.call(method, path, {}).status_code == 400
    only_a_type = {"Content-Type": "application/octet-stream"}
    assert api.alice.call(method, path, headers=only_a_type).status_code != 400


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v2/images", {"GET", "POST"}),
        ("/v2/images/{id}", {"GET", "PATCH", "DELETE"}),
        ("/v2/images/{id}/members", {"GET", "POST"}),
        ("/v2/images/{id}/members/m", {"GET", "PUT", "DELETE"}),
        ("/v2/images/{id}/tags/t", {"PUT", "DELETE"}),
        ("/v2/images/{id}/actions/deactivate", {"POST"}),
        ("/v2/images/{id}/locations", {"POST"}),
        ("/v2/schemas/image", {"GET"}),
        ("/v2/tasks", {"GET", "POST"}),
        ("/versions", {"GET"}),
    ],
)
def test_other_methods_are_refused_with_those_that_are_not(api: Api, path: str, allowed: set[str]) -> None:
    path = path.replace("/v2/images/{id}", api.alice.create())
    answers = {"GET"} if path.endswith("/locations") else set()  # answered, though not named
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"} - allowed - answers:
        answer = api.admin.call(method, path)
        assert answer.status_code == 405, method
        assert set(answer.headers["allow"].split(", ")) == allowed, method


@pytest.mark.parametrize("path", ["/v2/info/usage", "/v2/images/{id}/tasks"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD"])
def test_two_paths_say_404_instead(api: Api, path: str, method: str) -> None:
    path = path.replace("/v2/images/{id}", api.alice.create())
    assert api.alice.call(method, path).status_code == 404


def test_unknown_paths_and_verbs(api: Api) -> None:
    for path in ("/v2/nothing", "/v2/images/", "/v2/images/a/b/c", "/v2/schemas/nothing"):
        assert api.alice.get(path).status_code == 404
        assert api.alice.delete(path).status_code == 404
    with pytest.warns(Warning, match="REQUEST_METHOD"):
        assert api.alice.call("BREW", "/v2/images").status_code == 501


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"true",
        b"123",
        b'"x"',
        b"null",
        b"\xff\xfe",
        b'{"name": NaN}',
        b'{"name": "\\u0000"}',
        b'{"\\u0000": "x"}',
        b'{"name": "\\ud800"}',
        b'{"tags": ["\\udfff"]}',
        b"[" * 100_000,
        b'{"min_ram": ' + b"9" * 5000 + b"}",
        b'{"min_ram": 1e400}',
    ],
    ids=lambda raw: repr(raw[:20]),
)
def test_bodies_that_cannot_be_used(api: Api, raw: bytes) -> None:
    answer = api.alice.post("/v2/images", data=raw, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert message(answer)


def test_a_body_may_be_long_but_not_endless(make_api: Callable[..., Api]) -> None:
    api = make_api(api={"max_body": 2000})
    assert api.alice.post("/v2/images", {"x": "y" * 1500}).status_code == 201
    assert api.alice.post("/v2/images", {"x": "y" * 3000}).status_code == 413


@pytest.mark.parametrize(
    ("path", "query"),
    [("/v2/images/\0", ""), ("/v2/images/\xff", ""), ("/v2/images", "a=%00"), ("/v2/images", "%ff=a")],
)
def test_undecodable_urls(api: Api, path: str, query: str) -> None:
    environ = {**testing.create_environ(query_string=query), "PATH_INFO": path, "HTTP_X_AUTH_TOKEN": api.alice.token}
    start_response = testing.StartResponseMock()
    list(api.client.app(environ, start_response))
    assert start_response.status == "400 Bad Request"


def test_every_character_of_unicode_is_kept(api: Api) -> None:
    name = "Füchse 狐 😀 \u202e\t"
    path = api.alice.create(name=name, **{"proprieté 😀": "wért"}, tags=["日本"])
    image = api.alice.get(path).json
    assert (image["name"], image["proprieté 😀"], image["tags"]) == (name, "wért", ["日本"])
    assert api.alice.put(f"{path}/tags/%E6%97%A5%E6%9C%AC").status_code == 204
    assert len(api.alice.ids("tag=%E6%97%A5%E6%9C%AC")) == 1


def test_json_answers_say_so(api: Api) -> None:
    answer = api.alice.get("/v2/images")
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.content) == answer.json


PAGE = "https://console.example"


def test_pages_of_other_origins(make_api: Callable[..., Api]) -> None:
    api = make_api(api={"cors_origins": [PAGE]})
    asks = {"Origin": PAGE, "Access-Control-Request-Method": "PATCH"}
    answer = api.nobody.call("OPTIONS", "/v2/images", headers=asks)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert set(answer.headers["access-control-allow-methods"].split(", ")) == {"GET", "PUT", "POST", "DELETE", "PATCH"}
    assert "X-Auth-Token" in answer.headers["access-control-allow-headers"]
    for status, person in ((200, api.alice), (401, api.nobody)):
        seen = person.get("/v2/images", headers={"Origin": PAGE})
        assert (seen.status_code, seen.headers["access-control-allow-origin"]) == (status, PAGE)
        assert "X-OpenStack-Request-ID" in seen.headers["access-control-expose-headers"]
        assert "Origin" in seen.headers["vary"]


@pytest.mark.parametrize("origin", ["https://evil.example", f"{PAGE}.evil.example", "http://console.example", "null"])
def test_other_pages_see_nothing(make_api: Callable[..., Api], origin: str) -> None:
    api = make_api(api={"cors_origins": [PAGE]})
    asks = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    assert api.alice.call("OPTIONS", "/v2/images", headers=asks).status_code == 405
    assert "access-control-allow-origin" not in api.alice.get("/v2/images", headers={"Origin": origin}).headers
    assert "vary" not in make_api().alice.get("/v2/images", headers={"Origin": origin}).headers


@pytest.mark.parametrize("number", ["1e999", "-1E+400", "NaN", "-Infinity"])
def test_a_number_that_is_none_is_stored_nowhere(api: Api, number: str) -> None:
    """Python would make an infinity of it, which is no JSON when it is told again, and no database's either."""
    path, kind = api.alice.create(), {"Content-Type": "application/json"}
    before = api.admin.get("/v2/tasks").json["tasks"]
    calls: dict[str, dict[str, object]] = {
        "/v2/images": {},
        f"{path}/import": {"method": {"name": "glance-direct"}},
        f"{path}/members": {"member": "x"},
        f"{path}/locations": {"url": "http://x.example/x"},
        "/v2/tasks": {"type": "import", "input": {"import_from": "http://x.example/x", "image_properties": {}}},
        "/v2/metadefs/namespaces": {"namespace": "x"},
    }
    for where, body in calls.items():
        data = json.dumps({**body, "further": [{"a": "here"}]}).replace('"here"', number).encode()
        answer = api.admin.call("POST", where, data=data, headers=kind)
        assert answer.status_code == 400 and "Malformed JSON" in message(answer), (where, answer.text)
    assert api.admin.get("/v2/tasks").json["tasks"] == before
