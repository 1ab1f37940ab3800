"""`tidemill run` and `resume`: start a pipeline; and `execute`, which a started process calls."""

from __future__ import annotations

import signal
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from tidemill.cli.examples import examples
from tidemill.cli.opening import AsJson, Project, opened
from tidemill.cli.output import cell, emit_json, emit_rows
from tidemill.cli.progress import progress_bar
from tidemill.core.errors import InvalidArgument, TidemillError

if TYPE_CHECKING:
    from tidemill.pipelines.service import PipelineRun


def add_to(app: typer.Typer) -> None:
    """Add the commands about pipelines."""
    app.command(epilog=_RUN)(run)
    app.command(epilog=examples("tidemill resume 01997c3e"))(resume)
    app.command(hidden=True)(execute)


_RUN = examples(
    "tidemill run late_flight_pipeline",
    "tidemill run late_flight_pipeline until=2013-04-01",
    "tidemill run late_flight_pipeline --plan",
)


def run(
    pipeline: Annotated[str, typer.Argument(help="The pipeline.")],
    arguments: Annotated[list[str] | None, typer.Argument(help="NAME=VALUE; values are JSON or text.")] = None,
    dry: Annotated[
        bool, typer.Option("--plan", help="Only show the steps and which of them the cache would answer.")
    ] = False,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Run a pipeline and wait for it."""
    given = dict(_argument(text) for text in arguments or [])
    with progress_bar("Trials") as advance, opened(project, progress=advance) as platform:
        if dry:
            rows = [msgspec.to_builtins(one) for one in platform.pipelines.plan(pipeline, given)]
            emit_rows(rows, title=pipeline, empty="The pipeline has no steps.", as_json=as_json)
            return
        done = platform.pipelines.run(pipeline, given)
    _emit(done, as_json)


def resume(
    run: Annotated[str, typer.Argument(help="Id of the failed or killed run, or the beginning of it.")],
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Finish a failed or killed run; steps it finished are kept."""
    with progress_bar("Trials") as advance, opened(project, progress=advance) as platform:
        done = platform.pipelines.resume(run)
    _emit(done, as_json)


def execute(run: Annotated[str, typer.Argument(help="Id of an accepted run.")], project: Project = None) -> None:
    """Execute an accepted run in this process, with the code it was accepted with."""
    signal.signal(signal.SIGTERM, _stop)
    with opened(project) as platform:
        try:
            platform.use_code_of(run)
            pipelines = platform.pipelines  # imports the project's files
        except TidemillError:
            with platform.tracking.resume(run):
                raise
        print(msgspec.json.encode(pipelines.execute(run)).decode())


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _emit(done: PipelineRun, as_json: bool) -> None:
    if as_json:
        emit_json(msgspec.to_builtins(done))
        return
    steps = [
        {"step": s.node, "status": s.status, "seconds": round(s.seconds, 3), "result": _short(s.result)}
        for s in done.steps
    ]
    emit_rows(
        steps, title=f"{done.pipeline}: {done.status}, run {done.id}", empty="The pipeline has no steps.", as_json=False
    )
    if isinstance(done.result, dict) and "reason" in done.result:
        print(f"{'Promoted' if done.result.get('promoted') else 'Not promoted'}: {done.result['reason']}.")


def _short(result: Any) -> str:
    text = cell(result)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _argument(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InvalidArgument(f"{text!r} is not NAME=VALUE", expected="for example until=2013-04-01")
    try:
        return name, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return name, value
