"""Make images, locations, members, notes, filter terms, leases, tasks, quota counters."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql, postgresql

revision = "0001"
down_revision = None
PHASE = "expand"

_MARIADB = {"mariadb_engine": "InnoDB", "mariadb_charset": "utf8mb4", "mariadb_collate": "utf8mb4_nopad_bin"}


def _text(length: int) -> sa.types.TypeEngine:
    return sa.String(length).with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")


def _digest() -> sa.types.TypeEngine:
    return sa.LargeBinary(16).with_variant(mysql.BINARY(16), "mysql", "mariadb")


Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite counts up INTEGER keys only
Document = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
LongText = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


def upgrade() -> None:
    op.create_table(
        "catalog_images",
        sa.Column("id", _text(36), primary_key=True),
        sa.Column("owner", _text(255)),
        sa.Column("name", _text(255)),
        # The name as lists sort it: never null, so that paging by it is total.
        sa.Column("sort_name", _text(255), nullable=False),
        sa.Column("status", _text(16), nullable=False),
        sa.Column("visibility", _text(9), nullable=False),
        sa.Column("shelf", sa.SmallInteger, nullable=False),
        sa.Column("protected", sa.Boolean, nullable=False),
        sa.Column("hidden", sa.Boolean, nullable=False),
        sa.Column("checksum", _text(32)),
        sa.Column("hash_algo", _text(64)),
        sa.Column("hash_value", _text(128)),
        sa.Column("size", sa.BigInteger),
        sa.Column("virtual_size", sa.BigInteger),
        sa.Column("container_format", _text(32)),
        sa.Column("disk_format", _text(32)),
        sa.Column("min_ram", sa.Integer, nullable=False),
        sa.Column("min_disk", sa.Integer, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("deleted_at", sa.BigInteger),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("document", Document, nullable=False),
        sa.Index("ix_images_visibility", "shelf", "visibility", "created_at", "id"),
        sa.Index("ix_images_owner", "shelf", "owner", "visibility", "created_at", "id"),
        sa.Index("ix_images_visibility_name", "shelf", "visibility", "sort_name", "created_at", "id"),
        sa.Index("ix_images_owner_name", "shelf", "owner", "visibility", "sort_name", "created_at", "id"),
        sa.Index("ix_images_status", "status", "updated_at"),
        sa.Index("ix_images_checksum", "checksum"),
        sa.Index("ix_images_hash_value", "hash_value"),
        **_MARIADB,
    )

    op.create_table("catalog_used_ids", sa.Column("id", _text(36), primary_key=True), **_MARIADB)

    op.create_table(
        "catalog_terms",
        sa.Column("term", _digest(), primary_key=True),
        sa.Column("created_at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("image_id", _text(36), primary_key=True),
        sqlite_with_rowid=False,
        **_MARIADB,
    )

    op.create_table(
        "catalog_locations",
        sa.Column("id", Number, primary_key=True),
        sa.Column("image_id", _text(36), sa.ForeignKey("catalog_images.id", ondelete="CASCADE"), nullable=False),
        sa.Column("store", _text(64)),
        sa.Column("url", LongText, nullable=False),
        sa.Column("url_digest", _digest(), nullable=False),
        sa.Column("metadata", Document, nullable=False),
        sa.Column("state", _text(16), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Index("ix_locations_image", "image_id"),
        sa.Index("ix_locations_url", "url_digest"),
        sa.Index("ix_locations_state", "state", "updated_at"),
        **_MARIADB,
    )

    op.create_table(
        "catalog_members",
        sa.Column("image_id", _text(36), sa.ForeignKey("catalog_images.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("member", _text(255), primary_key=True),
        sa.Column("status", _text(16), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        # The image's own creation time, so that "shared with me" is one ordered seek.
        sa.Column("image_created_at", sa.BigInteger, nullable=False),
        sa.Index("ix_members_member", "member", "status", "image_created_at", "image_id"),
        **_MARIADB,
    )

    op.create_table(
        "catalog_service_notes",
        sa.Column("image_id", _text(36), sa.ForeignKey("catalog_images.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("name", _text(64), primary_key=True),
        sa.Column("value", LongText, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        **_MARIADB,
    )

    op.create_table(
        "catalog_leases",
        sa.Column("name", _text(128), primary_key=True),
        sa.Column("holder", _text(255), nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("data", Document),
        sa.Index("ix_leases_expires", "expires_at"),
        **_MARIADB,
    )

    op.create_table(
        "catalog_sequences",
        sa.Column("name", _text(64), primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
        **_MARIADB,
    )

    op.create_table(
        "catalog_tasks",
        sa.Column("id", _text(36), primary_key=True),
        sa.Column("type", _text(30), nullable=False),
        sa.Column("status", _text(30), nullable=False),
        sa.Column("owner", _text(255)),
        sa.Column("image_id", _text(36)),
        sa.Column("user_id", _text(64)),
        sa.Column("request_id", _text(64)),
        sa.Column("input", Document),
        sa.Column("result", Document),
        sa.Column("message", LongText),
        sa.Column("progress", Document),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("deleted_at", sa.BigInteger),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("not_before", sa.BigInteger, nullable=False),
        sa.Column("holder", _text(255)),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("lease_until", sa.BigInteger),
        sa.Index("ix_tasks_image", "image_id"),
        sa.Index("ix_tasks_created", "created_at", "id"),
        sa.Index("ix_tasks_owner", "owner", "created_at", "id"),
        sa.Index("ix_tasks_work", "status", "not_before"),
        **_MARIADB,
    )

    op.create_table(
        "catalog_quota_usage",
        sa.Column("project", _text(255), primary_key=True),
        sa.Column("images", sa.BigInteger, nullable=False),
        sa.Column("receiving", sa.BigInteger, nullable=False),
        sa.Column("stored", sa.BigInteger, nullable=False),
        sa.Column("staged", sa.BigInteger, nullable=False),
        sa.Column("reserved_stored", sa.BigInteger, nullable=False),
        sa.Column("reserved_staged", sa.BigInteger, nullable=False),
        **_MARIADB,
    )

    op.create_table(
        "catalog_quota_reservations",
        sa.Column("id", Number, primary_key=True),
        sa.Column("project", _text(255), nullable=False),
        sa.Column("image_id", _text(36), nullable=False),
        sa.Column("stored", sa.BigInteger, nullable=False),
        sa.Column("staged", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Index("ix_reservations_image", "image_id"),
        **_MARIADB,
    )
    op.execute("INSERT INTO catalog_sequences (name, value) VALUES ('fence', 0)")
