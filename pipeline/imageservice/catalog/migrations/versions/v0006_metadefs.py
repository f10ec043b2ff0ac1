"""Metadata definitions: namespaces with objects, properties, tags, and the resource types they are for."""

import time

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql, postgresql

revision = "0006"
down_revision = "0005"
PHASE = "expand"

_MARIADB = {"mariadb_engine": "InnoDB", "mariadb_charset": "utf8mb4", "mariadb_collate": "utf8mb4_nopad_bin"}
# What a fresh service knows of other services' resources.
_RESOURCE_TYPES = (
    "OS::Cinder::Volume",
    "OS::Glance::Image",
    "OS::Nova::Aggregate",
    "OS::Nova::Flavor",
    "OS::Nova::Server",
    "OS::Trove::Instance",
)


def _text(length: int):
    return sa.String(length).with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")


def _times():
    return [
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
    ]


def _namespace_id():
    inside = sa.ForeignKey("catalog_metadef_namespaces.id", ondelete="CASCADE")
    return sa.Column("namespace_id", _text(36), inside, primary_key=True)


def upgrade() -> None:
    op.create_table(
        "catalog_metadef_namespaces",
        sa.Column("id", _text(36), primary_key=True),
        sa.Column("namespace", _text(80), nullable=False, unique=True),
        sa.Column("display_name", _text(80)),
        sa.Column("description", _text(500)),
        sa.Column("visibility", _text(9), nullable=False),
        sa.Column("protected", sa.Boolean, nullable=False),
        sa.Column("owner", _text(255)),
        *_times(),
        sa.Index("ix_metadef_namespaces_created", "created_at", "namespace"),
        sa.Index("ix_metadef_namespaces_owner", "owner", "visibility"),
        **_MARIADB,
    )
    op.create_table(
        "catalog_metadef_definitions",
        _namespace_id(),
        sa.Column("kind", _text(16), primary_key=True),
        sa.Column("name_key", _text(255), primary_key=True),
        sa.Column("name", _text(80), nullable=False),
        sa.Column("document", sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb"), nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        *_times(),
        **_MARIADB,
    )
    types = op.create_table(
        "catalog_metadef_resource_types", sa.Column("name", _text(80), primary_key=True), *_times(), **_MARIADB
    )
    op.create_table(
        "catalog_metadef_associations",
        _namespace_id(),
        sa.Column("resource_type", _text(80), sa.ForeignKey("catalog_metadef_resource_types.name"), primary_key=True),
        sa.Column("prefix", _text(80)),
        sa.Column("properties_target", _text(80)),
        *_times(),
        sa.Index("ix_metadef_associations_type", "resource_type"),
        **_MARIADB,
    )
    moment = time.time_ns() // 1000
    op.bulk_insert(types, [{"name": name, "created_at": moment, "updated_at": moment} for name in _RESOURCE_TYPES])
