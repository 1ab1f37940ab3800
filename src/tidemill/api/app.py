"""The application as a function of a platform; two can run in one process."""

from __future__ import annotations

from typing import Any

from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from tidemill.api import errors
from tidemill.api.health import health
from tidemill.api.metrics import metrics
from tidemill.api.requests import around
from tidemill.api.routes import (
    alerts,
    datasets,
    decisions,
    definitions,
    endpoints,
    events,
    features,
    labels,
    models,
    monitors,
    projects,
    runs,
    sources,
)
from tidemill.platform import Platform
from tidemill.ui.pages import pages_router

PREFIX = "/api/tidemill/v1"
VERSION = "1"
MAX_BODY = 32 * 1024 * 1024
"""Bytes one request may hold."""

NOUNS = (
    projects, sources, features, runs, datasets, models, endpoints, monitors, labels, alerts, decisions, events,
    definitions,
)  # fmt: skip


class Application(Litestar):
    """What answers; every request passes `around`, also one that no route takes."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        await around(scope, receive, send, super().__call__, self.state.platform.scope.new_id)


def create_app(platform: Platform) -> Litestar:
    """The REST interface and the pages of a platform.

    Args:
        platform: An open platform; it is not closed here.
    """
    api = Router(PREFIX, route_handlers=[handler for noun in NOUNS for handler in noun.HANDLERS])
    return Application(
        [api, health, metrics, pages_router()],
        dependencies={"platform": Provide(lambda: platform, sync_to_thread=False)},
        exception_handlers={Exception: errors.answer},
        openapi_config=_openapi(),
        request_max_body_size=MAX_BODY,
        logging_config=None,
        state=State({"platform": platform}),
    )


def _openapi() -> OpenAPIConfig:
    # The description alone: the pages that come with it would load scripts from elsewhere.
    return OpenAPIConfig(
        title="Tidemill", version=VERSION, use_handler_docstrings=True, path=f"{PREFIX}/openapi.json",
        render_plugins=[JsonRenderPlugin()],
    )  # fmt: skip
