"""Add to tasks the node whose files they need, and what their worker knows so far."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
PHASE = "expand"


def upgrade() -> None:
    text = sa.String(255).with_variant(postgresql.VARCHAR(255, collation="C"), "postgresql")
    document = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
    op.add_column("catalog_tasks", sa.Column("node", text))
    op.add_column("catalog_tasks", sa.Column("state", document))
