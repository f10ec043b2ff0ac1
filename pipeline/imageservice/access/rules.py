"""List the policies and their defaults, in oslo.policy's language, so that operators' policy files keep working."""

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
class PolicyRule:
    """One policy: its default in oslo.policy's language, and what it decides."""

    name: str
    default: str
    description: str


BASE = (
    PolicyRule("context_is_admin", "role:admin", "Who is an administrator of every project."),
    PolicyRule("default", "", "What a rule that is nowhere defined means."),
    PolicyRule("service_api", f"role:service or {ADMIN}", "Calls for other services."),
)

IMAGES = (
    PolicyRule(
        "add_image",
        f"{ADMIN} or (role:member and {_OWN} and project_id:%(owner)s)",
        "Create an image.",
    ),
    PolicyRule("get_image", f"{ADMIN} or (role:reader and {_REACHABLE})", "See one image."),
    PolicyRule("get_images", _ADMIN_OR_READER, "List images."),
    PolicyRule("modify_image", _ADMIN_OR_MEMBER, "Change an image, its tags; stage and import data."),
    PolicyRule("delete_image", _ADMIN_OR_MEMBER, "Delete an image."),
    PolicyRule("upload_image", _ADMIN_OR_MEMBER, "Upload data."),
    PolicyRule("download_image", f"{ADMIN} or (role:member and {_REACHABLE})", "Download data."),
    PolicyRule("download_from_store", "rule:download_image", "Say which store to download from."),
    PolicyRule("publicize_image", ADMIN, "Make an image public."),
    PolicyRule("communitize_image", _ADMIN_OR_MEMBER, "Offer an image to the community."),
    PolicyRule("deactivate", _ADMIN_OR_MEMBER, "Deactivate an image."),
    PolicyRule("reactivate", _ADMIN_OR_MEMBER, "Reactivate an image."),
    PolicyRule("copy_image", ADMIN, "Copy an image's data to further stores."),
)

LOCATIONS = (
    PolicyRule("set_image_location", _ADMIN_OR_MEMBER, "Add or replace locations by changing the image."),
    PolicyRule("get_image_location", _ADMIN_OR_READER, "See where an image's data lies."),
    PolicyRule("delete_image_location", ADMIN, "Remove a location and its data."),
    PolicyRule("add_image_location", f"rule:service_api or (role:member and {_OWN})", "Add a location."),
    PolicyRule("fetch_image_location", "rule:service_api", "List locations, for other services."),
)

MEMBERS = (
    PolicyRule("add_member", _ADMIN_OR_MEMBER, "Share an image with a project."),
    PolicyRule("delete_member", _ADMIN_OR_MEMBER, "Stop sharing an image with a project."),
    PolicyRule(
        "get_member",
        f"{ADMIN} or (role:reader and (project_id:%(project_id)s or project_id:%(member_id)s))",
        "See one member.",
    ),
    PolicyRule(
        "get_members",
        f"{ADMIN} or (role:reader and (project_id:%(project_id)s or project_id:%(member_id)s))",
        "List members.",
    ),
    PolicyRule(
        "modify_member",
        f"{ADMIN} or (role:member and project_id:%(member_id)s)",
        "Accept or reject an image.",
    ),
)

CACHE = tuple(
    PolicyRule(name, ADMIN, "Manage the cache of image data.")
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
    PolicyRule("stores_info_detail", "rule:service_api", "See the stores' properties."),
    PolicyRule("tasks_api_access", ADMIN, "Use the tasks API."),
    PolicyRule("get_task", "rule:default", "See one task."),
    PolicyRule("get_tasks", "rule:default", "List tasks."),
    PolicyRule("add_task", "rule:default", "Create a task."),
)

_METADEF_THINGS = ("namespace", "object", "property", "tag")
METADEFS = (
    *(PolicyRule(f"get_metadef_{thing}", _METADEF_READ, f"See a metadata {thing}.") for thing in _METADEF_THINGS),
    PolicyRule("get_metadef_namespaces", f"{ADMIN} or role:reader", "List metadata namespaces."),
    PolicyRule("get_metadef_objects", _METADEF_READ, "List metadata objects."),
    PolicyRule("get_metadef_properties", _METADEF_READ, "List metadata properties."),
    PolicyRule("get_metadef_tags", _METADEF_READ, "List metadata tags."),
    PolicyRule("list_metadef_resource_types", f"{ADMIN} or role:reader", "List resource types."),
    PolicyRule("get_metadef_resource_type", _METADEF_READ, "See a namespace's resource types."),
    *(
        PolicyRule(name, ADMIN, "Change metadata definitions.")
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
