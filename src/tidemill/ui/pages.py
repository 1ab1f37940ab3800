"""The addresses of the pages. Each is also JSON: `?format=json`, or `.json` at the end."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import MediaType, Request, Response, Router, get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.static_files import create_static_files_router

from tidemill.core.errors import TidemillError, http_status
from tidemill.platform import Platform
from tidemill.ui.rendering import STATIC, render
from tidemill.ui.views.endpoints import endpoint, endpoints
from tidemill.ui.views.failure import failure
from tidemill.ui.views.features import feature, features
from tidemill.ui.views.monitoring import DEFAULT_RANGE, monitor, monitor_now, monitoring
from tidemill.ui.views.overview import overview
from tidemill.ui.views.patterns import patterns
from tidemill.ui.views.run import run
from tidemill.ui.views.runs import runs

JSON = "json"
Format = Annotated[str, QueryParameter(name="format", description="html or json")]
Part = Annotated[str, QueryParameter(description="Only this part of the page, for live replacement")]
AnyRequest = Request[Any, Any, Any]


def answer(request: AnyRequest, template: str, page: Any, *, part: str = "", as_format: str = "") -> Response[Any]:
    """A page as HTML, a part of it, or all of it as JSON."""
    if as_format == JSON or request.url.path.endswith(".json"):
        return Response(page, media_type=MediaType.JSON)
    name = f"_{template}_{part}.html" if part else f"{template}.html"
    headers = {"Cache-Control": "no-store", "Vary": "HX-Request"}
    return Response(render(name, page, path=request.url.path), media_type=MediaType.HTML, headers=headers)


def _plain(name: str) -> str:
    return name.removesuffix(".json")


@get("/", sync_to_thread=True)
def overview_page(
    request: AnyRequest, platform: NamedDependency[Platform], format: Format = "", part: Part = ""
) -> Response[Any]:
    """What needs me now?"""
    return answer(request, "overview", overview(platform), part="live" if part == "live" else "", as_format=format)


@get("/overview.json", sync_to_thread=True)
def overview_json(platform: NamedDependency[Platform]) -> Response[Any]:
    """The same as JSON."""
    return Response(overview(platform), media_type=MediaType.JSON)


@get("/runs", sync_to_thread=True)
def runs_page(
    request: AnyRequest, platform: NamedDependency[Platform], format: Format = "", filter: FromQuery[str] = "",
    kind: FromQuery[str] = "", order: FromQuery[str] = "", offset: FromQuery[int] = 0,
) -> Response[Any]:  # fmt: skip
    """Which run is best, and why?"""
    return answer(
        request, "runs", runs(platform, filter=filter, kind=kind, order=order, offset=offset), as_format=format
    )


@get("/runs.json", sync_to_thread=True)
def runs_json(
    platform: NamedDependency[Platform], filter: FromQuery[str] = "", kind: FromQuery[str] = "",
    order: FromQuery[str] = "", offset: FromQuery[int] = 0,
) -> Response[Any]:  # fmt: skip
    """The runs as JSON."""
    page = runs(platform, filter=filter, kind=kind, order=order, offset=offset)
    return Response(page, media_type=MediaType.JSON)


@get("/runs/{run_id:str}", sync_to_thread=True)
def run_page(
    request: AnyRequest,
    platform: NamedDependency[Platform],
    run_id: FromPath[str],
    format: Format = "",
    part: Part = "",
) -> Response[Any]:
    """What exactly happened, and can I trust it?"""
    page = run(platform, _plain(run_id))
    return answer(request, "run", page, part=part if part == "state" else "", as_format=format)


@get("/features", sync_to_thread=True)
def features_page(
    request: AnyRequest, platform: NamedDependency[Platform], format: Format = "", q: FromQuery[str] = "",
    tag: FromQuery[str] = "",
) -> Response[Any]:  # fmt: skip
    """What features are there?"""
    return answer(request, "features", features(platform, q, tag), as_format=format)


@get("/features.json", sync_to_thread=True)
def features_json(
    platform: NamedDependency[Platform], q: FromQuery[str] = "", tag: FromQuery[str] = ""
) -> Response[Any]:
    """The features as JSON."""
    return Response(features(platform, q, tag), media_type=MediaType.JSON)


@get("/features/views/{name:str}", sync_to_thread=True)
def feature_view_page(
    request: AnyRequest, platform: NamedDependency[Platform], name: FromPath[str], format: Format = ""
) -> Response[Any]:
    """Where does it come from, what does it look like, and who uses it?"""
    return answer(request, "feature", feature(platform, "feature_view", _plain(name)), as_format=format)


@get("/features/services/{name:str}", sync_to_thread=True)
def feature_service_page(
    request: AnyRequest, platform: NamedDependency[Platform], name: FromPath[str], format: Format = ""
) -> Response[Any]:
    """The same of a service."""
    return answer(request, "feature", feature(platform, "feature_service", _plain(name)), as_format=format)


@get("/endpoints", sync_to_thread=True)
def endpoints_page(request: AnyRequest, platform: NamedDependency[Platform], format: Format = "") -> Response[Any]:
    """The endpoints."""
    return answer(request, "endpoints", endpoints(platform), as_format=format)


@get("/endpoints.json", sync_to_thread=True)
def endpoints_json(platform: NamedDependency[Platform]) -> Response[Any]:
    """The endpoints as JSON."""
    return Response(endpoints(platform), media_type=MediaType.JSON)


@get("/endpoints/{name:str}", sync_to_thread=True)
def endpoint_page(
    request: AnyRequest, platform: NamedDependency[Platform], name: FromPath[str], format: Format = "", part: Part = ""
) -> Response[Any]:
    """Is it serving well?"""
    page = endpoint(platform, _plain(name))
    return answer(request, "endpoint", page, part=part if part == "state" else "", as_format=format)


@get("/monitoring.json", sync_to_thread=True)
def monitoring_json(platform: NamedDependency[Platform]) -> Response[Any]:
    """The monitors as JSON."""
    return Response(monitoring(platform), media_type=MediaType.JSON)


@get("/monitoring", sync_to_thread=True)
def monitoring_page(request: AnyRequest, platform: NamedDependency[Platform], format: Format = "") -> Response[Any]:
    """The monitors."""
    return answer(request, "monitoring", monitoring(platform), as_format=format)


@get("/monitoring/{name:str}", sync_to_thread=True)
def monitor_page(
    request: AnyRequest, platform: NamedDependency[Platform], name: FromPath[str], format: Format = "", part: Part = "",
    range: FromQuery[str] = DEFAULT_RANGE, effect: FromQuery[str | None] = None, feature: FromQuery[str | None] = None,
    window: FromQuery[int | None] = None,
) -> Response[Any]:  # fmt: skip
    """Is the model still right, and if not, which input moved?"""
    if part == "state":
        return answer(request, "monitor", monitor_now(platform, name, range=range), part=part)
    page = monitor(platform, _plain(name), range=range, effect=effect, feature=feature, window=window)
    return answer(request, "monitor", page, part=part if part == "distribution" else "", as_format=format)


@get("/_patterns", sync_to_thread=True)
def patterns_page(request: AnyRequest, platform: NamedDependency[Platform], format: Format = "") -> Response[Any]:
    """Every component in every state."""
    return answer(request, "patterns", patterns(platform), as_format=format)


def on_error(request: AnyRequest, error: TidemillError) -> Response[Any]:
    """An error in place, in the words the API has for it, with the next step."""
    platform: Platform = request.app.state.platform
    page = failure(platform, error)
    if request.query_params.get("format") == JSON or request.url.path.endswith(".json"):
        return Response({"error": page.error}, status_code=http_status(error), media_type=MediaType.JSON)
    html = render("failure.html", page, path=request.url.path)
    return Response(html, status_code=http_status(error), media_type=MediaType.HTML)


def pages_router() -> Router:
    """All pages, and what they load."""
    static = create_static_files_router("/static", [STATIC], html_mode=False, include_in_schema=False)
    handlers = [
        overview_page,
        overview_json,
        runs_page,
        runs_json,
        run_page,
        features_page,
        features_json,
        feature_view_page,
        feature_service_page,
        endpoints_page,
        endpoints_json,
        endpoint_page,
        monitoring_page,
        monitoring_json,
        monitor_page,
        patterns_page,
    ]
    return Router(
        "/", route_handlers=[*handlers, static], include_in_schema=False, exception_handlers={TidemillError: on_error}
    )
