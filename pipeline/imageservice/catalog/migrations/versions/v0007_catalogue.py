"""Whom namespaces of metadata definitions bind, what was loaded of the default catalogue, and a count of changes."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
PHASE = "expand"

_MARIADB = {"mariadb_engine": "InnoDB", "mariadb_charset": "utf8mb4", "mariadb_collate": "utf8mb4_nopad_bin"}


def _text(length: int):
    return sa.String(length).with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("catalog_metadef_namespaces", sa.Column("binds", _text(255)))
    # Nobody knows any more who wrote what is there: it binds its owner, and what an operator loaded binds everybody.
    op.execute("UPDATE catalog_metadef_namespaces SET binds = COALESCE(owner, '*')")
    op.create_table(
        "catalog_metadef_defaults",
        sa.Column("namespace", _text(80), primary_key=True),
        sa.Column("digest", _text(64), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        **_MARIADB,
    )
    op.execute("INSERT INTO catalog_sequences (name, value) VALUES ('metadefs', 0)")
