"""The policies and their defaults, in the words of oslo.policy, so that operators' policy files keep working."""

from __future__ import annotations

from dataclasses import dataclass

ADMIN = "rule:context_is_admin"
_OWN = "project_id:%(project_id)s"
_ADMIN_OR_MEMBER = f"{ADMIN} or (role:member and {_OWN})"
_ADMIN_OR_READER = f"{ADMIN} or (role:reader and {_OWN})"
_REACHABLE = (
    "(project_id:%(project_id)s or project_id:%(member_id)s or 'community':%(visibility)s or "
    "'public':%(visibility)s or 'shared':%(visibility)s or None:%(project_id)s)"
)
_METADEF_READ = f"{ADMIN} or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))"


@dataclass(frozen=True)
class Rule:
    """One policy: its default in oslo.policy's language, and what it decides."""

    name: str
    default: str
    description: str


BASE = (
    Rule("context_is_admin", "role:admin", "Who is an administrator of every project."),
    Rule("default", "", "What a rule that is nowhere defined means."),
    Rule("service_api", f"role:service or {ADMIN}", "Calls for other services."),
)

IMAGES = (
    Rule(
        "add_image",
        f"{ADMIN} or (role:member and {_OWN} and project_id:%(owner)s)",
        "Create an image.",
    ),
    Rule("get_image", f"{ADMIN} or (role:reader and {_REACHABLE})", "See one image."),
    Rule("get_images", _ADMIN_OR_READER, "List images."),
    Rule("modify_image", _ADMIN_OR_MEMBER, "Change an image, its tags; stage and import data."),
    Rule("delete_image", _ADMIN_OR_MEMBER, "Delete an image."),
    Rule("upload_image", _ADMIN_OR_MEMBER, "Upload data."),
    Rule("download_image", f"{ADMIN} or (role:member and {_REACHABLE})", "Download data."),
    Rule("download_from_store", "rule:download_image", "Say which store to download from."),
    Rule("publicize_image", ADMIN, "Make an image public."),
    Rule("communitize_image", _ADMIN_OR_MEMBER, "Offer an image to the community."),
    Rule("deactivate", _ADMIN_OR_MEMBER, "Deactivate an image."),
    Rule("reactivate", _ADMIN_OR_MEMBER, "Reactivate an image."),
    Rule("copy_image", ADMIN, "Copy an image's data to further stores."),
)

LOCATIONS = (
    Rule("set_image_location", _ADMIN_OR_MEMBER, "Add or replace locations by changing the image."),
    Rule("get_image_location", _ADMIN_OR_READER, "See where an image's data lies."),
    Rule("delete_image_location", ADMIN, "Remove a location and its data."),
    Rule("add_image_location", f"rule:service_api or (role:member and {_OWN})", "Add a location."),
    Rule("fetch_image_location", "rule:service_api", "List locations, for other services."),
)

MEMBERS = (
    Rule("add_member", _ADMIN_OR_MEMBER, "Share an image with a project."),
    Rule("delete_member", _ADMIN_OR_MEMBER, "Stop sharing an image with a project."),
    Rule(
        "get_member",
        f"{ADMIN} or (role:reader and (project_id:%(project_id)s or project_id:%(member_id)s))",
        "See one member.",
    ),
    Rule(
        "get_members",
        f"{ADMIN} or (role:reader and (project_id:%(project_id)s or project_id:%(member_id)s))",
        "List members.",
    ),
    Rule(
        "modify_member",
        f"{ADMIN} or (role:member and project_id:%(member_id)s)",
        "Accept or reject an image.",
    ),
)

CACHE = tuple(
    Rule(name, ADMIN, "Manage the cache of image data.")
    for name in (
        "list_cached_nodes",
        "cache_image",
        "cache_list",
        "cache_delete",
        "cache_clean",
        "cache_prune",
        "manage_image_cache",
    )
)

OTHERS = (
    Rule("stores_info_detail", "rule:service_api", "See the stores' properties."),
    Rule("tasks_api_access", ADMIN, "Use the tasks API."),
    Rule("get_task", "rule:default", "See one task."),
    Rule("get_tasks", "rule:default", "List tasks."),
    Rule("add_task", "rule:default", "Create a task."),
)

_METADEF_THINGS = ("namespace", "object", "property", "tag")
METADEFS = (
    *(Rule(f"get_metadef_{thing}", _METADEF_READ, f"See a metadata {thing}.") for thing in _METADEF_THINGS),
    Rule("get_metadef_namespaces", f"{ADMIN} or role:reader", "List metadata namespaces."),
    Rule("get_metadef_objects", _METADEF_READ, "List metadata objects."),
    Rule("get_metadef_properties", _METADEF_READ, "List metadata properties."),
    Rule("get_metadef_tags", _METADEF_READ, "List metadata tags."),
    Rule("list_metadef_resource_types", f"{ADMIN} or role:reader", "List resource types."),
    Rule("get_metadef_resource_type", _METADEF_READ, "See a namespace's resource types."),
    *(
        Rule(name, ADMIN, "Change metadata definitions.")
        for name in (
            "modify_metadef_namespace",
            "add_metadef_namespace",
            "delete_metadef_namespace",
            "modify_metadef_object",
            "add_metadef_object",
            "delete_metadef_object",
            "add_metadef_resource_type_association",
            "remove_metadef_resource_type_association",
            "modify_metadef_property",
            "add_metadef_property",
            "remove_metadef_property",
            "add_metadef_tag",
            "add_metadef_tags",
            "modify_metadef_tag",
            "delete_metadef_tag",
            "delete_metadef_tags",
            "metadef_default",
            "metadef_admin",
        )
    ),
)

ALL = (*BASE, *IMAGES, *LOCATIONS, *MEMBERS, *CACHE, *OTHERS, *METADEFS)
