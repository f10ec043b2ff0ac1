"""A cloud's definitions: read whole, in pages, within bounds."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import requests

from pipeline.publishing.cloud import definitions
from pipeline.publishing.cloud.definitions import DefinitionsUnreadable
from pipeline.publishing.cloud.http import Http
from pipeline.publishing.cloud.retry import CloudRetryPolicy

IMAGE = {"name": "OS::Glance::Image", "prefix": "q_"}


class Cloud:
    """Namespaces, served as the API has them, three a page."""

    def __init__(self, *names: str, gone: str = "", bare: bool = False) -> None:
        self.names, self.gone, self.bare, self.asked = sorted(names), gone, bare, list[str]()

    def request(self, url: str, method: str, **options: Any) -> requests.Response:
        assert method == "GET"
        self.asked.append(url)
        parts = urlsplit(url)
        name = unquote(parts.path.removeprefix("/metadefs/namespaces").lstrip("/"))
        answer = requests.Response()
        answer.status_code = 404 if self.bare or (name and name == self.gone) else 200
        answer._content = json.dumps(self._one(name) if name else self._page(parse_qs(parts.query))).encode()
        answer._content_consumed = True
        return answer

    def _page(self, query: dict[str, list[str]]) -> dict[str, Any]:
        assert query["resource_types"] == ["OS::Glance::Image"]
        marker = query.get("marker", [""])[0]
        left = [name for name in self.names if name > marker]
        document: dict[str, Any] = {
            "namespaces": [{"namespace": name, "resource_type_associations": [IMAGE]} for name in left[:3]]
        }
        return {**document, **({"next": "/there"} if len(left) > 3 else {})}

    def _one(self, name: str) -> dict[str, Any]:
        inner = {f"o_{name}": {"type": "boolean"}}
        return {"properties": {name: {"type": "integer"}}, "objects": [{"name": "o", "properties": inner}]}

    def get_endpoint(self) -> str | None:
        return "http://cloud/v2"

    def get_project_id(self) -> str | None:
        return None


def read(cloud: Cloud) -> Any:
    return definitions.read(Http(cloud, "test", CloudRetryPolicy(sleep=lambda seconds: None)))


def test_all_pages_and_objects_are_read_with_their_prefix() -> None:
    names = ["a", "b/c?d#e%", "f", "g", "h", "ü", "x::y"]
    known = read(Cloud(*names))
    for name in names:
        assert [one.name for one in known.judge({f"q_{name}": "x", f"q_o_{name}": "x"}).wrong] == [
            f"q_{name}",
            f"q_o_{name}",
        ]
    assert known.judge({"a": "x"}).unknown == ("a",)


def test_a_cloud_without_definitions_defines_nothing() -> None:
    assert len(read(Cloud(bare=True))) == len(read(Cloud())) == 0


def test_a_namespace_that_goes_meanwhile_is_left_out() -> None:
    known = read(Cloud("a", "b", gone="a"))
    assert known.judge({"q_a": "1", "q_b": "1"}).unknown == ("q_a",)


@pytest.mark.parametrize(
    ("bound", "value", "message"),
    [("NAMESPACES", 3, "more than 3 namespaces"), ("BYTES", 200, "MiB of definitions"), ("SECONDS", -1.0, "seconds")],
)
def test_what_has_no_end_is_not_read_to_it(
    monkeypatch: pytest.MonkeyPatch, bound: str, value: float, message: str
) -> None:
    monkeypatch.setattr(definitions, bound, value)
    cloud = Cloud(*"abcdefghij")
    with pytest.raises(DefinitionsUnreadable, match=message):
        read(cloud)
    assert len(cloud.asked) <= 4


def test_a_page_that_comes_again_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud("a", "b", "c", "d")
    monkeypatch.setattr(cloud, "_page", lambda query: Cloud._page(cloud, {**query, "marker": [""]}))
    assert len(read(cloud)) == 6
