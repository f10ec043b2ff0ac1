"""Add how much an image's properties and tags are, so that a page of a list can end in time."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
PHASE = "expand"


def upgrade() -> None:
    op.add_column("catalog_images", sa.Column("weight", sa.Integer))
