"""Requests nobody would make: no fault, no trace in the log, no hang.

They are made from the service's own description, right and wrong ones, and from raw noise.
"""

from __future__ import annotations

import io
import json
import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import falcon
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode

from pipeline.imageservice.app import routes
from tests.integration.imageservice.api.world import Api, image_id

MANY = int(os.environ.get("PIPELINE_FUZZ", "0"))  # requests; for a long search
_SECONDS = 10.0
TARGET: dict[str, Any] = {
    "namespace": "target",
    "properties": {"x": {"title": "X", "type": "string"}},
    "objects": [{"name": "x"}],
    "tags": [{"name": "x"}],
    "resource_type_associations": [{"name": "x"}],
}


@schemathesis.serializer(  # type: ignore[untyped-decorator]
    "application/openstack-images-v2.1-json-patch", "application/openstack-images-v2.0-json-patch"
)
def _patch_as_json(_context: Any, value: Any) -> bytes:
    return json.dumps(value).encode()


class Watch(logging.Handler):
    """Remembers what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(self.format(record))


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch()
    logger = logging.getLogger("imageservice")
    logger.addHandler(watch)
    yield watch
    logger.removeHandler(watch)


def inspector(watch: Watch, status: int, headers: Any, seconds: float, what: object) -> None:
    assert status < 500 or status == 501, (status, what)
    assert seconds < _SECONDS, what
    assert not watch.records, (watch.records, what)
    assert "x-openstack-request-id" in {name.lower() for name in headers}, what


def test_the_description_names_every_route(api: Api) -> None:
    paths = api.nobody.get("/openapi.json").json["paths"]
    known = routes(api.service)
    described = {(path, method) for path, methods in paths.items() for method in methods}
    real = {
        (path, method.lower())
        for path, resource in known.items()
        for method in falcon.HTTP_METHODS
        if hasattr(resource, f"on_{method.lower()}") and method != "OPTIONS" and _is_real(resource, method)
    }
    assert described == real


def _is_real(resource: Any, method: str) -> bool:
    """Whether a method does something: refusals are written as methods too."""
    return getattr(type(resource), f"on_{method.lower()}") is not type(resource).on_options and (
        type(resource).__name__,
        method,
    ) != ("OneTask", "DELETE")


def test_described_requests(make_api: Callable[..., Api], watch: Watch) -> None:
    api = make_api(api={"show_locations": True})
    documents = api.nobody.get("/openapi.json").json
    schema = schemathesis.openapi.from_dict(documents)
    operations = [result.ok() for result in schema.get_all_operations()]
    cases = st.one_of(
        [
            operation.as_strategy(generation_mode=mode)
            for operation in operations
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        ]
    )
    choose = random.Random(1)
    counts: dict[int, int] = {}
    known: list[str] = []

    @settings(
        max_examples=MANY or 400,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        deadline=None,
        derandomize=not MANY,
        database=None,
    )
    @given(case=cases)
    def attack(case: Any) -> None:
        if len(known) < 3 or choose.random() < 0.05:
            known.append(image_id(api.alice.create(disk_format="raw", container_format="bare", name="target")))
            del known[:-10]
        # Random ids name nothing: most requests are to hit something.
        if case.path_parameters and "image_id" in case.path_parameters and choose.random() < 0.8:
            case.path_parameters["image_id"] = choose.choice(known)
        if case.path_parameters and "namespace" in case.path_parameters and choose.random() < 0.8:
            api.admin.post("/v2/metadefs/namespaces", TARGET)
            case.path_parameters |= {"namespace": TARGET["namespace"], "name": "x"}
        person = choose.choice([api.alice, api.alice, api.admin, api.bob, api.nova])
        start = time.thread_time()
        status, headers = _send(api, person.token, case)
        counts[status] = counts.get(status, 0) + 1
        inspector(watch, status, headers, time.thread_time() - start, case.as_curl_command())

    attack()
    assert counts.get(200, 0) + counts.get(201, 0) + counts.get(204, 0) > 20, counts
    assert counts.get(400, 0) > 20, counts


def _send(api: Api, token: str | None, case: Any) -> tuple[int, Any]:
    answer = case.call(app=api.client.app, headers={"X-Auth-Token": token, "Accept": "application/json"})
    return answer.status_code, answer.headers


_paths = st.sampled_from(
    [
        "/v2/images",
        "/v2/images/{id}",
        "/v2/images/{id}/file",
        "/v2/images/{id}/members",
        "/v2/images/{id}/members/x",
        "/v2/images/{id}/tags/x",
        "/v2/images/{id}/locations",
        "/v2/images/{id}/actions/deactivate",
        "/v2/tasks",
        "/v2/info/usage",
        "/v2/stores/main/{id}",
        "/v2/schemas/image",
        "/",
    ]
) | st.text(max_size=30).map(lambda text: f"/{text}")
_header_values = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60
) | st.sampled_from(
    ["bytes=0-", "bytes=-0", "bytes=5-1", "bytes */x", "gzip", "chunked", "-1", "1e9", "99999999999999999999"]
)
_headers = st.dictionaries(
    st.sampled_from(
        "HTTP_RANGE HTTP_CONTENT_RANGE HTTP_ACCEPT HTTP_X_OPENSTACK_REQUEST_ID HTTP_X_IMAGE_META_STORE CONTENT_TYPE "
        "HTTP_X_OPENSTACK_IMAGE_SIZE HTTP_X_SERVICE_TOKEN HTTP_X_ROLES HTTP_X_IDENTITY_STATUS HTTP_EXPECT HTTP_HOST "
        "HTTP_IF_MODIFIED_SINCE HTTP_COOKIE HTTP_TRANSFER_ENCODING HTTP_X_FORWARDED_PROTO".split()
    ),
    _header_values,
    max_size=4,
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                "name op path value add tags owner locations url metadata member status method stores x".split()
            )
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(
    max_examples=MANY or 300,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
    deadline=None,
    derandomize=not MANY,
    database=None,
)
@given(data=st.data())
def _noise(data: st.DataObject, api: Api, watch: Watch, target: str) -> None:
    raw = data.draw(st.binary(max_size=200) | _json.map(lambda value: json.dumps(value).encode()))
    method = data.draw(st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]))
    path = data.draw(_paths).replace("{id}", target)
    kinds = ["application/json", "application/octet-stream", "application/openstack-images-v2.1-json-patch"]
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path.encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": data.draw(st.text(st.characters(max_codepoint=255), max_size=60)),
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SCRIPT_NAME": "",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_X_AUTH_TOKEN": api.alice.token,
        "CONTENT_TYPE": data.draw(st.sampled_from(kinds)),
        "CONTENT_LENGTH": str(len(raw)),
        "wsgi.input": io.BytesIO(raw),
        "wsgi.errors": io.StringIO(),
        "wsgi.url_scheme": "http",
        "wsgi.version": (1, 0),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        **data.draw(_headers),
    }
    answers: list[tuple[str, Any]] = []
    start = time.thread_time()

    def start_response(status: str, headers: Any, _error: Any = None) -> Callable[[bytes], None]:
        answers.append((status, headers))
        return lambda _data: None

    b"".join(api.client.app(environ, start_response))
    status, headers = answers[0]
    what = {name: value for name, value in environ.items() if isinstance(value, str)}
    inspector(watch, int(status.split()[0]), dict(headers), time.thread_time() - start, (what, raw))


def test_noise(api: Api, watch: Watch) -> None:
    target = image_id(api.alice.create(disk_format="raw", container_format="bare"))
    _noise(api=api, watch=watch, target=target)
