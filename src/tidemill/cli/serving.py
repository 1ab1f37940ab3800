"""`tidemill serve` and `tidemill up`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tidemill.cli.examples import examples
from tidemill.cli.opening import Project, existing, opened


def add_to(app: typer.Typer) -> None:
    """Add the commands that listen."""
    app.command(epilog=examples("tidemill serve", "tidemill serve --port 8000 --workers 4"))(serve)
    app.command(epilog=examples("tidemill up", "tidemill up --port 8001"))(up)


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 7879 when absent.", min=0, max=65535)] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes.", min=1)] = None,
    project: Project = None,
) -> None:
    """Serve the project's graphs over HTTP until stopped."""
    from tidemill.platform import serve as run_server

    run_server(existing(project), _given(host=host, port=port, workers=workers))


def up(
    host: Annotated[str | None, typer.Option(help="Address to listen on; loopback until accounts exist.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 7878 when absent.", min=0, max=65535)] = None,
    project: Project = None,
) -> None:
    """Run the pages, the REST API and the daemon that acts."""
    from tidemill.api.server import run as run_api
    from tidemill.daemon import Daemon

    with opened(project, {"up": _given(host=host, port=port)}) as platform, Daemon(platform):
        run_api(platform, platform.settings.up.host, platform.settings.up.port)


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
