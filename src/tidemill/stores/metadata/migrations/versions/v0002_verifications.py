"""A table of verifications of feature services."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tidemill.stores.metadata.migrations.columns import integer, key, number, text

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "verifications",
        key("id"),
        key("project"),
        text("principal"),
        integer("created_at"),
        key("service"),
        integer("since_at"),
        integer("until_at"),
        number("sample"),
        integer("rows"),
        integer("skipped"),
        integer("late"),
        integer("defects"),
        text("features"),
        sa.PrimaryKeyConstraint("id", name="pk_verifications"),
    )
    op.create_index("ix_verifications_project_service_until_at", "verifications", ["project", "service", "until_at"])
