"""One typed settings object: `tidemill.toml`, then `TIDEMILL_*` environment, then arguments."""

from __future__ import annotations

import getpass
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from tidemill.core.errors import InvalidArgument, NotFound
from tidemill.core.ids import check_name

FILE_NAME = "tidemill.toml"
HOME_NAME = ".tidemill"


class ServeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How `tidemill serve` listens."""

    host: str = "127.0.0.1"
    port: int = 7879
    workers: int = 2
    max_rows: int = 10_000
    """Rows one request may hold."""
    queue: int = 64
    """Requests one worker takes at once before it answers 429."""
    deadline: str = "30s"
    """A request older than this is answered 504."""


class UpSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How `tidemill up` listens."""

    host: str = "127.0.0.1"
    port: int = 7878
    backlog: int = 10_000
    """Pushes of one source that may wait to be moved into its table; more are answered 429."""


OFF = "off"
"""The value of settings that are durations when what they are for is not done."""


class VerifySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the daemon of `tidemill up` verifies served features."""

    every: str = "1d"
    """How often; `off` for never."""
    sample: float = 0.1
    """Which share of the keys, always the same ones."""
    lag: str = "1m"
    """How long a row may take from being known to being online."""
    notify: str = ""
    """The channels told of a defect, divided by commas; all when empty."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a platform is opened with. Relative paths and URLs are relative to the project folder."""

    project: str
    folder: Path
    """The project folder: where `tidemill.toml` is."""
    files: tuple[str, ...] = ()
    """Python files with definitions, relative to the folder."""
    home: str = HOME_NAME
    metadata: str = "sqlite:"
    artifacts: str = "file:"
    tables: str = "delta:"
    online: str = "lmdb:"
    streams: str = "file:"
    lateness: str = "7d"
    """How far back, beyond the longest window, the online store answers; the daemon trims what is older. `off`: nothing."""
    engine: str = "local:"
    """Who runs heavy work: `local:`, `ray:`, `dask:`, `spark:`, with an address for a cluster."""
    clock: str = "system"
    principal: str = ""
    executor: str = "process"
    """Where pipeline steps run: `process` or `inline`."""
    log_level: str = "warning"
    channels: dict[str, str] = msgspec.field(default_factory=lambda: {"console": "console:"})
    """Notification channels by name: `console:`, or the URL of a webhook."""
    serve: ServeSettings = ServeSettings()
    up: UpSettings = UpSettings()
    verify: VerifySettings = VerifySettings()

    @property
    def home_path(self) -> Path:
        """The home: where embedded stores keep their files."""
        return (self.folder / self.home).resolve()


def find_folder(start: Path) -> Path:
    """The nearest folder at or above `start` that holds `tidemill.toml`.

    Raises:
        NotFound: There is none.
    """
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / FILE_NAME).is_file():
            return folder
    raise NotFound(
        f"no {FILE_NAME} in {start.resolve()} or above it", hint="Run `tidemill init` in the folder of your project"
    )


def load_settings(
    start: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Read the settings of the project at or above a folder.

    Args:
        start: Where to look from; the current folder when absent.
        environ: The environment; the process's own when absent.
        overrides: Values that win over file and environment, such as `{"serve": {"port": 8000}}`.

    Raises:
        NotFound: No `tidemill.toml`.
        InvalidArgument: A key or value is wrong; the message names it.
    """
    folder = find_folder(start or Path.cwd())
    values = _read_toml(folder / FILE_NAME)
    values = _merged(values, _from_environ(os.environ if environ is None else environ))
    values = _merged(values, dict(overrides or {}))
    values["folder"] = str(folder)
    values.setdefault("project", folder.name.lower().replace(" ", "-"))
    values.setdefault("principal", _login())
    settings = _convert(values)
    check_name(settings.project, "project name")
    return settings


def environment_of(settings: Settings) -> dict[str, str]:
    """The `TIDEMILL_*` variables that make another process open the same stores with the same clock.

    Example:
        >>> environment_of(Settings(project="p", folder=Path(), clock="shared:clock"))["TIDEMILL_CLOCK"]
        'shared:clock'
    """
    names = (
        "project",
        "home",
        "metadata",
        "artifacts",
        "tables",
        "online",
        "streams",
        "engine",
        "clock",
        "principal",
        "executor",
    )
    values = {f"TIDEMILL_{name.upper()}": str(getattr(settings, name)) for name in names}
    return {**values, "TIDEMILL_FILES": ",".join(settings.files)}


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgument(f"{path.name} is not valid TOML: {error}") from None


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(Settings):
        variable = f"TIDEMILL_{field.name.upper()}"
        if field.name in ("serve", "up", "verify"):
            nested = {
                inner.name: environ[f"{variable}_{inner.name.upper()}"]
                for inner in msgspec.structs.fields(field.type)
                if f"{variable}_{inner.name.upper()}" in environ
            }
            if nested:
                values[field.name] = nested
        elif variable in environ:
            text = environ[variable]
            values[field.name] = [part for part in text.split(",") if part] if field.name == "files" else text
    values.pop("channels", None)
    return values


def _merged(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        result[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return result


def _convert(values: dict[str, Any]) -> Settings:
    try:
        return msgspec.convert(values, Settings, strict=False, dec_hook=_decode_path)
    except msgspec.ValidationError as error:
        known = [field.name for field in msgspec.structs.fields(Settings) if field.name != "folder"]
        raise InvalidArgument(f"{FILE_NAME} or the environment is wrong: {error}", known=known) from None


def _decode_path(kind: type, value: Any) -> Any:
    return Path(value) if kind is Path else value


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a user id that has no name
        return "unknown"
