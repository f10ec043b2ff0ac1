"""Make objects: whose the data in stores is. For locations of before the service finds that out, which has the
stores.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql, postgresql

revision = "0004"
down_revision = "0003"
PHASE = "expand"

_MARIADB = {"mariadb_engine": "InnoDB", "mariadb_charset": "utf8mb4", "mariadb_collate": "utf8mb4_nopad_bin"}


def _text(length: int):
    return sa.String(length).with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")


def upgrade() -> None:
    digest = sa.LargeBinary(32).with_variant(mysql.BINARY(32), "mysql", "mariadb")
    op.create_table(
        "catalog_objects",
        sa.Column("digest", digest, primary_key=True),
        sa.Column("identity", sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb"), nullable=False),
        sa.Column("image_id", _text(36), nullable=False),
        sa.Column("store", _text(64), nullable=False),
        sa.Column("attempt", _text(64)),
        sa.Column("state", _text(16), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Index("ix_objects_image", "image_id"),
        **_MARIADB,
    )
    op.add_column("catalog_locations", sa.Column("identity", digest))
    op.create_index("ix_locations_identity", "catalog_locations", ["identity"])
    op.execute("INSERT INTO catalog_sequences (name, value) VALUES ('generation', 0)")
