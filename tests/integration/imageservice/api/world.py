"""A service in this process, and people who call it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from falcon import testing

from pipeline.imageservice.service import Service

PATCH = "application/openstack-images-v2.1-json-patch"
OLD_PATCH = "application/openstack-images-v2.0-json-patch"


@dataclass(frozen=True)
class Person:
    """Somebody with a token. ``project`` is the id of their project."""

    api: Api
    name: str
    project: str
    token: str | None

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        query: str | None = None,
        chunked: bool = False,
    ) -> testing.Result:
        """One request; ``body`` is sent as JSON, ``data`` as it is (``chunked``: without its length)."""
        sent = {"X-Auth-Token": self.token} if self.token else {}
        sent |= {"Accept": "application/json"}
        if body is not None:
            sent["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        sent |= headers or {}
        path, _, found = path.partition("?")
        return self.api.client.simulate_request(
            method,
            path,
            query_string=query or found or None,
            headers=sent,
            body=data,
            remote_addr="127.0.0.1",
            extras={"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"} if chunked else None,
        )

    def get(self, path: str, **more: Any) -> testing.Result:
        return self.call("GET", path, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> testing.Result:
        return self.call("POST", path, body, **more)

    def put(self, path: str, body: Any = None, **more: Any) -> testing.Result:
        return self.call("PUT", path, body, **more)

    def delete(self, path: str, **more: Any) -> testing.Result:
        return self.call("DELETE", path, **more)

    def patch(self, path: str, operations: Any, *, kind: str = PATCH) -> testing.Result:
        return self.call("PATCH", path, operations, headers={"Content-Type": kind})

    def create(self, **fields: Any) -> str:
        """Make an image; returns its path."""
        answer = self.post("/v2/images", fields)
        assert answer.status_code == 201, answer.text
        return str(answer.json["self"])

    def upload(self, path: str, data: bytes = b"bytes") -> None:
        answer = self.call("PUT", f"{path}/file", data=data, headers={"Content-Type": "application/octet-stream"})
        assert answer.status_code == 204, answer.text

    def active(self, data: bytes = b"bytes", **fields: Any) -> str:
        """Make an image with data; returns its path."""
        path = self.create(**{"disk_format": "raw", "container_format": "bare", **fields})
        self.upload(path, data)
        return path

    def ids(self, query: str = "") -> list[str]:
        """The ids of the images a list shows, in order, over all pages."""
        found: list[str] = []
        path = f"/v2/images?{query}"
        while path:
            answer = self.get(path)
            assert answer.status_code == 200, answer.text
            found += [image["id"] for image in answer.json["images"]]
            path = answer.json.get("next", "")
        return found


@dataclass
class Api:
    """The service under test."""

    client: testing.TestClient
    service: Service
    suffix: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    people: dict[str, Person] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Person:
        try:
            return self.people[name]
        except KeyError:
            raise AttributeError(name) from None


def image_id(path: str) -> str:
    """The id in an image's path."""
    return path.rpartition("/")[2]


def message(answer: testing.Result) -> str:
    """The text of an error."""
    return str(answer.json["message"])
