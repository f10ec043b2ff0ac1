"""Use the four resources that openstacksdk has for metadata definitions, as anybody's program does.

Arguments: the image service's URL, a token, and the name to give everything. What each call returned, or was refused
with, goes to standard output as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

import openstack
from openstack.exceptions import SDKException
from openstack.resource import Resource

# Links are quoted here and not there; moments differ, and ids are of the library's own making.
_WITHOUT = ("location", "created_at", "updated_at", "self", "id")


def main() -> None:
    """Call everything once, and what has to fail again."""
    url, token, name = sys.argv[1:]
    connection = openstack.connect(auth_type="admin_token", auth={"endpoint": f"{url}/v2", "token": token})
    image = connection.image
    calls: list[tuple[str, Callable[[], Any]]] = [
        ("create", lambda: image.create_metadef_namespace(namespace=name, visibility="public", display_name=name)),
        ("create again", lambda: image.create_metadef_namespace(namespace=name)),
        ("list", lambda: image.metadef_namespaces(visibility="public", limit=1)),
        ("show", lambda: image.get_metadef_namespace(name)),
        ("change", lambda: image.update_metadef_namespace(name, description="edited", visibility="public")),
        ("property", lambda: image.create_metadef_property(name, name=name, type="string", title=name, enum=["ü"])),
        ("property again", lambda: image.create_metadef_property(name, name=name, type="string", title="T")),
        ("properties", lambda: image.metadef_properties(name)),
        ("change property", lambda: image.update_metadef_property(name, name, name=name, type="integer", title="Q")),
        ("show property", lambda: image.get_metadef_property(name, name)),
        ("object", lambda: image.create_metadef_object(name, name=name, description="D")),
        ("objects", lambda: image.metadef_objects(name)),
        ("change object", lambda: image.update_metadef_object(name, name, name="other", description="E")),
        ("show object", lambda: image.get_metadef_object("other", name)),
        ("no object", lambda: image.get_metadef_object("none", name)),
        ("types", lambda: [one for one in image.metadef_resource_types() if one.name == "OS::Nova::Server"]),
        (
            "associate",
            lambda: image.create_metadef_resource_type_association(name, name="OS::Nova::Server", prefix="p"),
        ),
        ("associations", lambda: image.metadef_resource_type_associations(name)),
        ("show all", lambda: image.get_metadef_namespace(name)),
        ("dissociate", lambda: image.delete_metadef_resource_type_association("OS::Nova::Server", name)),
        ("delete property", lambda: image.delete_metadef_property(name, name)),
        ("delete object", lambda: image.delete_metadef_object("other", name)),
        ("delete properties", lambda: image.delete_all_metadef_properties(name)),
        ("delete objects", lambda: image.delete_all_metadef_objects(name)),
        ("delete", lambda: image.delete_metadef_namespace(name)),
        ("delete again", lambda: image.delete_metadef_namespace(name, ignore_missing=False)),
        ("nothing", image.metadef_namespaces),
    ]
    json.dump([(what, _outcome(call)) for what, call in calls], sys.stdout, ensure_ascii=False)


def _outcome(call: Callable[[], Any]) -> Any:
    try:
        found = call()
        is_list = isinstance(found, Iterable) and not isinstance(found, Resource)
        return _plain(list(found) if is_list else found)
    except SDKException as error:
        return {"error": type(error).__name__, "status": getattr(error, "status_code", None)}


def _plain(found: Any) -> Any:
    if isinstance(found, Resource):
        return _plain(found.to_dict(computed=False))
    if isinstance(found, dict):
        shown = {key: _plain(value) for key, value in found.items() if key not in _WITHOUT}
        return {key: value for key, value in shown.items() if value not in (None, [], {})}
    return [_plain(one) for one in found] if isinstance(found, list) else found


if __name__ == "__main__":
    main()
