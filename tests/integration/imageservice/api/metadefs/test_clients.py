"""Other people's libraries, as the commands people type use them, on the API in this process."""

from __future__ import annotations

import io
from typing import Any

import glanceclient
import openstack
import pytest
import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3 import HTTPResponse

from tests.integration.imageservice.api.metadefs.shelf import FULL
from tests.integration.imageservice.api.world import Api

URL = "http://image.test"
NAMES = ["OS::Ours", "with blanks", "ünï ✓", "x" * 80]


class InProcess(BaseAdapter):
    """Sends a library's requests to the application instead of a server."""

    def __init__(self, api: Api) -> None:
        super().__init__()
        self._api = api

    def send(self, request: requests.PreparedRequest, *_rest: Any, **_more: Any) -> requests.Response:
        sent: Any = request.body
        body = sent if sent is None or isinstance(sent, str | bytes) else b"".join(sent)
        path, _, query = request.path_url.partition("?")
        answer = self._api.client.simulate_request(
            request.method or "GET",
            path,
            query_string=query or None,
            headers={name: _text(value) for name, value in request.headers.items()},
            body=body,
            remote_addr="127.0.0.1",
        )
        raw = HTTPResponse(
            io.BytesIO(answer.content),
            headers=dict(answer.headers),
            status=answer.status_code,
            reason=answer.status.partition(" ")[2],
            version=11,
            preload_content=False,
        )
        return HTTPAdapter().build_response(request, raw)

    def close(self) -> None:
        """Nothing is open."""


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


@pytest.fixture
def glance(api: Api) -> Any:
    client = glanceclient.Client("2", endpoint=URL, token="token-of-admin")
    client.http_client.session.mount(URL, InProcess(api))
    return client


@pytest.fixture
def sdk(api: Api) -> Any:
    connection = openstack.connect(auth_type="admin_token", auth={"endpoint": URL, "token": "token-of-admin"})
    connection.session.session.mount(URL, InProcess(api))
    return connection.image


@pytest.mark.parametrize("name", NAMES)
def test_glanceclient(glance: Any, name: str) -> None:
    namespaces = glance.metadefs_namespace
    namespaces.create(namespace=name, **FULL)
    assert [one.namespace for one in namespaces.list(filters={"resource_types": ["OS::Nova::Flavor"]})] == [name]
    namespaces.update(name, description="edited", visibility="public")
    shown = namespaces.get(name, resource_type="OS::Glance::Image")
    assert (shown.description, set(shown.properties)) == ("edited", {"hw_cores", "hw_mode"})
    properties = glance.metadefs_property
    properties.create(name, name="p", title="P", type="string")
    properties.update(name, "p", name="q", title="Q")
    assert {one.name for one in properties.list(name)} == {"cores", "mode", "q"}
    assert properties.get(name, "q").title == "Q"
    properties.delete(name, "q")
    objects = glance.metadefs_object
    objects.create(name, name="o", properties={"a": {"title": "A", "type": "string"}})
    objects.update(name, "o", name="o2", description="edited")
    assert {one.name for one in objects.list(name)} == {"pair", "o2"}
    assert objects.get(name, "o2").properties["a"]["title"] == "A"
    objects.delete(name, "o2")
    tags = glance.metadefs_tag
    assert len(list(tags.create_multiple(name, tags=["u", "v"]))) == 2
    tags.create(name, "t")
    tags.update(name, "t", name="t2")
    assert tags.get(name, "t2").name == "t2"
    assert {one.name for one in tags.list(name)} == {"t2", "u", "v"}
    tags.delete(name, "t2")
    types = glance.metadefs_resource_type
    assert "OS::Glance::Image" in {one.name for one in types.list()}
    types.associate(name, name="OS::Nova::Server", prefix="p:")
    assert "OS::Nova::Server" in {one.name for one in types.get(name)}
    types.deassociate(name, "OS::Nova::Server")
    for controller in (properties, objects, tags):
        controller.delete_all(name)
        assert list(controller.list(name)) == []
    namespaces.delete(name)
    assert list(namespaces.list()) == []


@pytest.mark.parametrize("name", NAMES)
def test_openstacksdk(sdk: Any, name: str) -> None:
    made = sdk.create_metadef_namespace(namespace=name, visibility="public", display_name="Shown")
    assert [one.namespace for one in sdk.metadef_namespaces()] == [name]
    assert sdk.update_metadef_namespace(made, description="edited").description == "edited"
    assert sdk.get_metadef_namespace(name).description == "edited"
    sdk.create_metadef_property(name, name="p", type="string", title="P")
    assert [one.name for one in sdk.metadef_properties(name)] == ["p"]
    sdk.update_metadef_property("p", name, name="p", type="integer", title="Q")
    assert sdk.get_metadef_property("p", name).type == "integer"
    sdk.delete_metadef_property("p", name)
    sdk.create_metadef_object(name, name="o", description="D")
    assert [one.name for one in sdk.metadef_objects(name)] == ["o"]
    sdk.update_metadef_object("o", name, name="o2")
    assert sdk.get_metadef_object("o2", name).name == "o2"
    sdk.delete_metadef_object("o2", name)
    assert "OS::Nova::Server" in {one.name for one in sdk.metadef_resource_types()}
    sdk.create_metadef_resource_type_association(name, name="OS::Nova::Server")
    assert [one.name for one in sdk.metadef_resource_type_associations(name)] == ["OS::Nova::Server"]
    sdk.delete_metadef_resource_type_association("OS::Nova::Server", name)
    sdk.delete_metadef_namespace(name)
    assert list(sdk.metadef_namespaces()) == []
