"""Declare the tables. The migrations in ``migrations/`` make them; a test holds the two together.

Reading an image takes its row, with properties and tags as one JSON document. What is written by several at once, or
looked up by value, has a table of its own: locations, members, what the service notes on an image, filter terms.
Text compares by bytes everywhere: PostgreSQL's "C" collation, MariaDB's binary collation that does not pad.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    SmallInteger,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.types import TypeEngine

AnyRow: TypeAlias = Row[*tuple[Any, ...]]

metadata = MetaData()
_MARIADB: dict[str, Any] = {
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
}


def _text(length: int) -> TypeEngine[str]:
    return String(length).with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")


def _digest(length: int = 16) -> TypeEngine[bytes]:
    return LargeBinary(length).with_variant(mysql.BINARY(length), "mysql", "mariadb")


Number = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up INTEGER keys only
Document = JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
LongText = Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")

images = Table(
    "catalog_images",
    metadata,
    Column("id", _text(36), primary_key=True),
    Column("owner", _text(255)),
    Column("name", _text(255)),
    # The name as lists sort it: never null, so that paging by it is total.
    Column("sort_name", _text(255), nullable=False),
    Column("status", _text(16), nullable=False),
    Column("visibility", _text(9), nullable=False),
    Column("shelf", SmallInteger, nullable=False),
    Column("protected", Boolean, nullable=False),
    Column("hidden", Boolean, nullable=False),
    Column("checksum", _text(32)),
    Column("hash_algo", _text(64)),
    Column("hash_value", _text(128)),
    Column("size", BigInteger),
    Column("virtual_size", BigInteger),
    Column("container_format", _text(32)),
    Column("disk_format", _text(32)),
    Column("min_ram", Integer, nullable=False),
    Column("min_disk", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    Column("version", Integer, nullable=False),
    Column("document", Document, nullable=False),
    # Bytes of properties and tags (``Image.weight``); of rows that older versions wrote it is not known.
    Column("weight", Integer),
    Index("ix_images_visibility", "shelf", "visibility", "created_at", "id"),
    Index("ix_images_owner", "shelf", "owner", "visibility", "created_at", "id"),
    Index("ix_images_visibility_name", "shelf", "visibility", "sort_name", "created_at", "id"),
    Index("ix_images_owner_name", "shelf", "owner", "visibility", "sort_name", "created_at", "id"),
    Index("ix_images_status", "status", "updated_at"),
    Index("ix_images_checksum", "checksum"),
    Index("ix_images_hash_value", "hash_value"),
    **_MARIADB,
)

# Ids whose rows were purged: they stay taken for ever.
used_ids = Table("catalog_used_ids", metadata, Column("id", _text(36), primary_key=True), **_MARIADB)

# What can be filtered by: one row for each (scope, property or tag) of an image. ``term`` is a digest of scope, kind,
# name and value (see terms.py); the rest of the key is the default order of lists.
terms = Table(
    "catalog_terms",
    metadata,
    Column("term", _digest(), primary_key=True),
    Column("created_at", BigInteger, primary_key=True, autoincrement=False),
    Column("image_id", _text(36), primary_key=True),
    sqlite_with_rowid=False,
    **_MARIADB,
)

locations = Table(
    "catalog_locations",
    metadata,
    Column("id", Number, primary_key=True),
    Column("image_id", _text(36), ForeignKey("catalog_images.id", ondelete="CASCADE"), nullable=False),
    Column("store", _text(64)),
    Column("url", LongText, nullable=False),
    Column("url_digest", _digest(), nullable=False),
    Column("metadata", Document, nullable=False),
    Column("state", _text(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    # Which object it leads to; null as an older version of the service writes it.
    Column("identity", _digest(32)),
    Index("ix_locations_image", "image_id"),
    Index("ix_locations_identity", "identity"),
    Index("ix_locations_url", "url_digest"),
    Index("ix_locations_state", "state", "updated_at"),
    **_MARIADB,
)

# Whose each object in a store is, whatever its addresses; also what is being written, is staged, or must not be used
# again. The key is a digest that nobody can make two objects have.
objects = Table(
    "catalog_objects",
    metadata,
    Column("digest", _digest(32), primary_key=True),
    Column("identity", LongText, nullable=False),
    Column("image_id", _text(36), nullable=False),
    Column("store", _text(64), nullable=False),
    Column("attempt", _text(64)),
    Column("state", _text(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Index("ix_objects_image", "image_id"),
    **_MARIADB,
)

members = Table(
    "catalog_members",
    metadata,
    Column("image_id", _text(36), ForeignKey("catalog_images.id", ondelete="CASCADE"), primary_key=True),
    Column("member", _text(255), primary_key=True),
    Column("status", _text(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    # The image's own creation time, so that "shared with me" is one ordered seek.
    Column("image_created_at", BigInteger, nullable=False),
    Index("ix_members_member", "member", "status", "image_created_at", "image_id"),
    **_MARIADB,
)

# What the service notes on an image, each note written atomically: the import lock, lists of stores, the staging node.
service_notes = Table(
    "catalog_service_notes",
    metadata,
    Column("image_id", _text(36), ForeignKey("catalog_images.id", ondelete="CASCADE"), primary_key=True),
    Column("name", _text(64), primary_key=True),
    Column("value", LongText, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    **_MARIADB,
)

# Who works on what, until when. ``fence`` grows with each grant of any lease: a write of an old holder is recognised.
leases = Table(
    "catalog_leases",
    metadata,
    Column("name", _text(128), primary_key=True),
    Column("holder", _text(255), nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("data", Document),
    Index("ix_leases_expires", "expires_at"),
    **_MARIADB,
)

sequences = Table(
    "catalog_sequences",
    metadata,
    Column("name", _text(64), primary_key=True),
    Column("value", BigInteger, nullable=False),
    **_MARIADB,
)

# Tasks as the API shows them and as workers run them: ``holder``, ``fence``, ``lease_until`` are the worker's lease.
tasks = Table(
    "catalog_tasks",
    metadata,
    Column("id", _text(36), primary_key=True),
    Column("type", _text(30), nullable=False),
    Column("status", _text(30), nullable=False),
    Column("owner", _text(255)),
    Column("image_id", _text(36)),
    Column("user_id", _text(64)),
    Column("request_id", _text(64)),
    Column("input", Document),
    Column("result", Document),
    Column("message", LongText),
    Column("progress", Document),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("deleted_at", BigInteger),
    Column("attempt", Integer, nullable=False),
    Column("not_before", BigInteger, nullable=False),
    Column("holder", _text(255)),
    Column("fence", BigInteger, nullable=False),
    Column("lease_until", BigInteger),
    Column("node", _text(255)),
    Column("state", Document),
    Index("ix_tasks_image", "image_id"),
    Index("ix_tasks_created", "created_at", "id"),
    Index("ix_tasks_owner", "owner", "created_at", "id"),
    Index("ix_tasks_work", "status", "not_before"),
    **_MARIADB,
)

# Events of tasks, each written with what it tells of, and kept until nobody can write it again. ``id``: the same for
# the same event, whoever writes it; ``due_at``: when whoever sends it now is taken for dead.
outbox = Table(
    "catalog_outbox",
    metadata,
    Column("number", Number, primary_key=True),
    Column("id", _text(36), nullable=False, unique=True),
    Column("task_id", _text(36), nullable=False),
    Column("message", Document),
    Column("due_at", BigInteger, nullable=False),
    Column("sent_at", BigInteger),
    Index("ix_outbox_task", "task_id", "number"),
    Index("ix_outbox_due", "sent_at", "due_at"),
    **_MARIADB,
)

# What each project uses now, kept by every write of an image; ``reserved_*`` is the sum of its reservations. In bytes.
quota_usage = Table(
    "catalog_quota_usage",
    metadata,
    Column("project", _text(255), primary_key=True),
    Column("images", BigInteger, nullable=False),
    Column("receiving", BigInteger, nullable=False),
    Column("stored", BigInteger, nullable=False),
    Column("staged", BigInteger, nullable=False),
    Column("reserved_stored", BigInteger, nullable=False),
    Column("reserved_staged", BigInteger, nullable=False),
    **_MARIADB,
)

# Bytes on their way: counted from the moment they are allowed until they are there, or are not.
quota_reservations = Table(
    "catalog_quota_reservations",
    metadata,
    Column("id", Number, primary_key=True),
    Column("project", _text(255), nullable=False),
    Column("image_id", _text(36), nullable=False),
    Column("stored", BigInteger, nullable=False),
    Column("staged", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_reservations_image", "image_id"),
    **_MARIADB,
)

# Metadata definitions: what properties there are, for people and programs that set them.
# ``binds``: the project whose images the definitions are held against, ``*`` for everybody's, null for nobody's.
metadef_namespaces = Table(
    "catalog_metadef_namespaces",
    metadata,
    Column("id", _text(36), primary_key=True),
    Column("namespace", _text(80), nullable=False, unique=True),
    Column("display_name", _text(80)),
    Column("description", _text(500)),
    Column("visibility", _text(9), nullable=False),
    Column("protected", Boolean, nullable=False),
    Column("owner", _text(255)),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("binds", _text(255)),
    Index("ix_metadef_namespaces_created", "created_at", "namespace"),
    Index("ix_metadef_namespaces_owner", "owner", "visibility"),
    **_MARIADB,
)

# Objects, properties and tags. ``name_key`` is what a name is unique by; the document is JSON as text, so that it comes
# back as it was sent; ``size`` is its length in bytes.
metadef_definitions = Table(
    "catalog_metadef_definitions",
    metadata,
    Column(
        "namespace_id", _text(36), ForeignKey("catalog_metadef_namespaces.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("kind", _text(16), primary_key=True),
    Column("name_key", _text(255), primary_key=True),
    Column("name", _text(80), nullable=False),
    Column("document", LongText, nullable=False),
    Column("size", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    **_MARIADB,
)

metadef_resource_types = Table(
    "catalog_metadef_resource_types",
    metadata,
    Column("name", _text(80), primary_key=True),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    **_MARIADB,
)

metadef_associations = Table(
    "catalog_metadef_associations",
    metadata,
    Column(
        "namespace_id", _text(36), ForeignKey("catalog_metadef_namespaces.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("resource_type", _text(80), ForeignKey("catalog_metadef_resource_types.name"), primary_key=True),
    Column("prefix", _text(80)),
    Column("properties_target", _text(80)),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Index("ix_metadef_associations_type", "resource_type"),
    **_MARIADB,
)

# What was loaded of the default catalogue: a digest of each namespace as it was then, and the count of changes.
metadef_defaults = Table(
    "catalog_metadef_defaults",
    metadata,
    Column("namespace", _text(80), primary_key=True),
    Column("digest", _text(64), nullable=False),
    Column("version", BigInteger, nullable=False),
    **_MARIADB,
)
