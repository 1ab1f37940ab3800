"""The version of a home's format: the number of its newest migration."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from sqlalchemy import Connection, inspect, text

from tidemill.core.errors import FormatTooNew, InvalidData

FORMAT = 2
"""What this program reads and writes. A change of any store's layout adds a migration, and so raises it."""


def read_format(connection: Connection) -> int | None:
    """The format of a database; None when it is empty.

    Raises:
        InvalidData: The database belongs to something else.
    """
    if not inspect(connection).has_table("tidemill_format"):
        return None
    found = connection.execute(text("SELECT version_num FROM tidemill_format")).scalar_one_or_none()
    if found is not None and not str(found).isdigit():
        raise InvalidData(f"the database holds tables of another program (revision {found})", hint="Use one of its own")
    return None if found is None else int(found)


def check_format(found: int | None, where: str) -> bool:
    """Whether the format is this program's own; False if it is older or there is none yet.

    Args:
        found: What `read_format` gave.
        where: The database, for the message.

    Raises:
        FormatTooNew: It is newer.
    """
    if found is not None and found > FORMAT:
        raise FormatTooNew(
            f"{where} has format {found}; Tidemill {program_version()} knows formats up to {FORMAT}",
            hint="Use the newer Tidemill that wrote it, or upgrade: pip install -U tidemill",
        )
    return found == FORMAT


def program_version() -> str:
    """The version of the installed program."""
    try:
        return version("tidemill")
    except PackageNotFoundError:
        return "(not installed)"
