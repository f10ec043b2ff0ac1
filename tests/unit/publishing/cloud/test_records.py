"""Answers of a cloud that are none: one error in words, or nothing found; never a fault of ours."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import requests

from pipeline.base.errors import PipelineError
from pipeline.publishing.cloud.http import Http
from pipeline.publishing.cloud.images import ImageApi
from pipeline.publishing.cloud.owners import Owners
from pipeline.publishing.cloud.retry import CloudRetryPolicy

ID = "11111111-2222-3333-4444-555555555555"
BODIES = [
    *(b"", b"<html>", b"[" * 100_000, b'{"a":' * 100_000, b"null", b"[]", b"7", b'"x"', b"{}", b"\xff", b"NaN"),
    *(b'{"images": 7}', b'{"images": [7]}', b'{"stores": 7}', b'{"stores": [7]}', b'{"members": 7}'),
    *(b'{"namespaces": 7}', b'{"namespaces": [7, {}, {"namespace": 7}], "next": 7}', b'{"objects": [7]}'),
    *(b'{"namespaces": [{"namespace": "a", "resource_type_associations": 7}], "properties": {"a": 7}}',),
    *(b'{"id": "x", "tags": 7}', b'{"id": "x", "tags": {"a": 1}}', b'{"images": [{"id": "x", "size": 1e999}]}'),
    *(b'{"members": [7]}', b'{"members": [{}]}', b'{"tasks": 7}', b'{"import-methods": {"value": [{}]}}'),
]
CALLS: dict[str, Callable[[ImageApi], Any]] = {
    "show": lambda api: api.show(ID),
    "images": lambda api: list(api.images()),
    "stores": lambda api: api.stores(),
    "import methods": lambda api: api.import_methods(),
    "members": lambda api: api.members(ID),
    "definitions": lambda api: api.definitions(),
    "create": lambda api: api.create({"id": ID}),
}


class Adapter:
    """Answers everything with the same bytes."""

    def __init__(self, body: bytes, status: int) -> None:
        self.body, self.status = body, status

    def request(self, url: str, method: str, **options: Any) -> requests.Response:
        answer = requests.Response()
        answer.status_code, answer._content = self.status, self.body
        answer._content_consumed = True
        answer.headers["Content-Type"] = "application/json"
        return answer

    def get_endpoint(self) -> str | None:
        return "http://cloud"

    def get_project_id(self) -> str | None:
        return "ours"


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("body", BODIES, ids=lambda body: body[:24].decode(errors="replace") or "empty")
def test_whatever_a_cloud_answers(call: str, status: int, body: bytes) -> None:
    http = Http(Adapter(body, status), "test", CloudRetryPolicy(sleep=lambda seconds: None))
    with contextlib.suppress(PipelineError):
        CALLS[call](ImageApi(http, Owners("ours")))


def test_the_cloud_is_named() -> None:
    http = Http(Adapter(b"<html>", 200), "edge", CloudRetryPolicy(sleep=lambda seconds: None))
    with pytest.raises(PipelineError, match="cloud edge answered with something that is no JSON"):
        ImageApi(http, Owners("ours")).show(ID)
