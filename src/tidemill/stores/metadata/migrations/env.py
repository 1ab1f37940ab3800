"""What Alembic executes to run migrations; never imported by anything else."""

from __future__ import annotations

from alembic import context

from tidemill.stores.metadata.tables import metadata


def run() -> None:
    """Run the migrations on the connection of the configuration, in the transaction it is in."""
    connection = context.config.attributes["connection"]
    # The caller began a transaction in words and commits it: Alembic is not to begin its own.
    context.configure(
        connection=connection,
        target_metadata=metadata,
        transactional_ddl=True,
        render_as_batch=True,
        version_table="tidemill_format",
    )
    context.run_migrations()


if hasattr(context, "config"):  # not when a tool merely imports every module
    run()
