"""The first format: every table."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tidemill.stores.metadata.migrations.columns import boolean, integer, key, number, text

revision = "0001"
down_revision = None


def upgrade() -> None:
    _alerts()
    _alias_moves()
    _aliases()
    _arrivals()
    _counters()
    _datasets()
    _decisions()
    _definitions()
    _endpoints()
    _events()
    _generations()
    _leases()
    _links()
    _measurements()
    _metrics()
    _model_versions()
    _models()
    _monitor_states()
    _monitor_windows()
    _notifications()
    _pins()
    _positions()
    _runs()
    _step_results()


def _counters() -> None:
    op.create_table("counters", key("name"), integer("value"), sa.PrimaryKeyConstraint("name", name="pk_counters"))


def _alerts() -> None:
    op.create_table(
        "alerts",
        key("id"),
        key("project"),
        text("principal"),
        integer("created_at"),
        text("name"),
        key("fingerprint"),
        text("labels"),
        key("state"),
        text("severity"),
        text("summary"),
        text("evidence"),
        integer("window_at", nullable=True),
        integer("resolved_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_alerts"),
    )
    op.create_index("ix_alerts_fingerprint", "alerts", ["fingerprint"])
    op.create_index("ix_alerts_project_state_created_at", "alerts", ["project", "state", "created_at"])


def _alias_moves() -> None:
    op.create_table(
        "alias_moves",
        key("id"),
        key("project"),
        text("principal"),
        integer("created_at"),
        key("model"),
        key("alias"),
        integer("before", nullable=True),
        integer("after", nullable=True),
        text("reason"),
        sa.PrimaryKeyConstraint("id", name="pk_alias_moves"),
    )
    op.create_index(
        "ix_alias_moves_project_model_alias_created_at", "alias_moves", ["project", "model", "alias", "created_at"]
    )


def _aliases() -> None:
    op.create_table(
        "aliases",
        key("project"),
        key("model"),
        key("alias"),
        text("principal"),
        integer("created_at"),
        integer("version"),
        sa.PrimaryKeyConstraint("project", "model", "alias", name="pk_aliases"),
    )


def _arrivals() -> None:
    op.create_table(
        "arrivals",
        key("id"),
        key("project"),
        text("principal"),
        integer("created_at"),
        key("source"),
        text("origin"),
        text("archive", nullable=True),
        integer("size"),
        text("table"),
        integer("table_version"),
        integer("rows"),
        integer("quarantined"),
        integer("first_ts", nullable=True),
        integer("last_ts", nullable=True),
        integer("first_seq"),
        text("checks"),
        text("documentation"),
        sa.PrimaryKeyConstraint("id", name="pk_arrivals"),
    )
    op.create_index("ix_arrivals_project_source_created_at", "arrivals", ["project", "source", "created_at"])


def _datasets() -> None:
    op.create_table(
        "datasets",
        key("project"),
        key("digest"),
        text("principal"),
        integer("created_at"),
        text("name"),
        integer("rows"),
        text("manifest"),
        sa.PrimaryKeyConstraint("project", "digest", name="pk_datasets"),
    )


def _decisions() -> None:
    op.create_table(
        "decisions",
        key("id"),
        key("project"),
        text("principal"),
        integer("created_at"),
        key("subject"),
        text("action"),
        text("reason"),
        text("alert_id", nullable=True),
        key("run_id", nullable=True),
        text("detail"),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
    )
    op.create_index("ix_decisions_project_subject_created_at", "decisions", ["project", "subject", "created_at"])
    op.create_index("ix_decisions_run_id", "decisions", ["run_id"])


def _definitions() -> None:
    op.create_table(
        "definitions",
        key("project"),
        key("kind"),
        key("name"),
        integer("version"),
        text("principal"),
        integer("created_at"),
        text("digest"),
        text("body"),
        text("source"),
        boolean("current"),
        sa.PrimaryKeyConstraint("project", "kind", "name", "version", name="pk_definitions"),
    )


def _endpoints() -> None:
    op.create_table(
        "endpoints",
        key("project"),
        key("name"),
        text("principal"),
        integer("created_at"),
        text("graph"),
        text("digest"),
        sa.PrimaryKeyConstraint("project", "name", name="pk_endpoints"),
    )


def _events() -> None:
    op.create_table(
        "events",
        integer("seq"),
        key("project"),
        text("principal"),
        integer("created_at"),
        key("kind"),
        key("subject"),
        text("body"),
        sa.PrimaryKeyConstraint("seq", name="pk_events"),
    )
    op.create_index("ix_events_project_kind_seq", "events", ["project", "kind", "seq"])
    op.create_index("ix_events_project_subject_seq", "events", ["project", "subject", "seq"])


def _generations() -> None:
    op.create_table(
        "generations",
        key("project"),
        key("endpoint"),
        integer("number"),
        text("principal"),
        integer("created_at"),
        text("models"),
        text("digest"),
        text("state"),
        text("detail"),
        text("server"),
        text("url"),
        integer("ended_at", nullable=True),
        text("workers"),
        sa.PrimaryKeyConstraint("project", "endpoint", "number", name="pk_generations"),
    )


def _leases() -> None:
    op.create_table(
        "leases",
        key("name"),
        text("project"),
        text("principal"),
        integer("created_at"),
        text("holder"),
        integer("expires_at"),
        integer("beat_at"),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )


def _links() -> None:
    op.create_table(
        "links",
        key("run_id"),
        key("direction"),
        key("name"),
        key("uri"),
        key("project"),
        text("principal"),
        integer("created_at"),
        text("digest", nullable=True),
        text("detail"),
        sa.PrimaryKeyConstraint("run_id", "direction", "name", "uri", name="pk_links"),
    )
    op.create_index("ix_links_project_uri", "links", ["project", "uri"])


def _measurements() -> None:
    op.create_table(
        "measurements",
        key("project"),
        key("monitor"),
        integer("start_at"),
        key("series"),
        key("feature"),
        text("principal"),
        integer("created_at"),
        number("value", nullable=True),
        integer("rows"),
        boolean("alarm"),
        sa.PrimaryKeyConstraint("project", "monitor", "start_at", "series", "feature", name="pk_measurements"),
    )


def _metrics() -> None:
    op.create_table(
        "metrics",
        key("run_id"),
        key("name"),
        integer("step"),
        integer("at"),
        integer("seq"),
        text("project"),
        text("principal"),
        integer("created_at"),
        number("value", nullable=True),
        text("kind"),
        sa.PrimaryKeyConstraint("run_id", "name", "step", "at", "seq", name="pk_metrics"),
    )


def _model_versions() -> None:
    op.create_table(
        "model_versions",
        key("project"),
        key("model"),
        integer("version"),
        text("principal"),
        integer("created_at"),
        key("run_id", nullable=True),
        text("format"),
        text("artifact"),
        text("signature"),
        text("metrics"),
        text("params"),
        text("profile", nullable=True),
        text("example", nullable=True),
        text("dataset", nullable=True),
        integer("trained_until", nullable=True),
        text("service", nullable=True),
        text("environment"),
        sa.PrimaryKeyConstraint("project", "model", "version", name="pk_model_versions"),
    )
    op.create_index("ix_model_versions_project_run_id", "model_versions", ["project", "run_id"])


def _models() -> None:
    op.create_table(
        "models",
        key("project"),
        key("name"),
        text("principal"),
        integer("created_at"),
        text("description"),
        text("tags"),
        sa.PrimaryKeyConstraint("project", "name", name="pk_models"),
    )


def _monitor_states() -> None:
    op.create_table(
        "monitor_states",
        key("project"),
        key("monitor"),
        key("reference"),
        text("principal"),
        integer("created_at"),
        integer("through"),
        text("state"),
        sa.PrimaryKeyConstraint("project", "monitor", "reference", name="pk_monitor_states"),
    )


def _monitor_windows() -> None:
    op.create_table(
        "monitor_windows",
        key("project"),
        key("monitor"),
        integer("start_at"),
        text("principal"),
        integer("created_at"),
        integer("end_at"),
        integer("revision"),
        integer("rows"),
        integer("labelled"),
        text("models"),
        text("profile", nullable=True),
        text("detail"),
        sa.PrimaryKeyConstraint("project", "monitor", "start_at", name="pk_monitor_windows"),
    )


def _notifications() -> None:
    op.create_table(
        "notifications",
        key("id"),
        text("project"),
        text("principal"),
        integer("created_at"),
        text("alert_id"),
        text("channel"),
        text("reason"),
        text("payload"),
        key("state"),
        integer("attempts"),
        integer("due_at"),
        integer("sent_at", nullable=True),
        text("error", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_notifications"),
    )
    op.create_index("ix_notifications_state_due_at", "notifications", ["state", "due_at"])


def _pins() -> None:
    op.create_table(
        "pins",
        key("target"),
        key("owner"),
        text("project"),
        text("principal"),
        integer("created_at"),
        sa.PrimaryKeyConstraint("target", "owner", name="pk_pins"),
    )


def _positions() -> None:
    op.create_table(
        "positions",
        key("consumer"),
        key("feed"),
        text("project"),
        text("principal"),
        integer("created_at"),
        integer("position"),
        sa.PrimaryKeyConstraint("consumer", "feed", name="pk_positions"),
    )


def _runs() -> None:
    op.create_table(
        "runs",
        key("id"),
        key("project"),
        text("principal"),
        integer("created_at"),
        text("kind"),
        text("name"),
        key("run_group"),
        text("status"),
        key("parent", nullable=True),
        integer("started_at"),
        integer("ended_at", nullable=True),
        text("params"),
        text("tags"),
        text("code"),
        text("environment"),
        text("resources"),
        text("error", nullable=True),
        text("cache_key", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
    )
    op.create_index("ix_runs_parent", "runs", ["parent"])
    op.create_index("ix_runs_project_run_group_created_at", "runs", ["project", "run_group", "created_at"])


def _step_results() -> None:
    op.create_table(
        "step_results",
        key("project"),
        key("cache_key"),
        text("principal"),
        integer("created_at"),
        text("run_id"),
        text("parts"),
        text("outputs"),
        sa.PrimaryKeyConstraint("project", "cache_key", name="pk_step_results"),
    )
