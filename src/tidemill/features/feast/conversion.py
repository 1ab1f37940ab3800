"""A Feast repository as a Tidemill project file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from tidemill.features.feast.layout import (
    WIDTH,
    Group,
    Names,
    Node,
    assign,
    call,
    comment,
    listing,
    mapping,
    one_line,
    prose,
    quoted,
    snake,
)
from tidemill.features.feast.outcome import Conversion, Progress
from tidemill.features.feast.repository import Field, Repository, Service, Use
from tidemill.features.feast.sources import Sources, types_of
from tidemill.features.feast.views import Part, Views, people

SERVICE = "feature service"
REQUEST_TIME = "event_timestamp"
"""The time column of Feast's entity frames."""

_HEAD = '''"""Features of the Feast project {project}.

Written by `tidemill feast import`. A comment that begins with "Not converted" stands where something has no counterpart.
"""

'''
_ELSEWHERE = {
    "LabelView": ("label view", "Define a tm.Source of the labels and a tm.Label over it"),
    "Permission": ("permission", "Run one Tidemill project for each group of people"),
}


def convert(repository: Repository, folder: Path, target: Path) -> Conversion:
    """Write a repository anew.

    Args:
        repository: What it defines.
        folder: The folder it is in; paths of its files are relative to it.
        target: The folder of the file that is to hold the result.

    Returns:
        The text of the file, and what became of everything.
    """
    names, progress = Names(["tm", "pl"]), Progress()
    sources = Sources(repository, folder, target, names=names, progress=progress)
    source_blocks = sources.convert()
    views = Views(repository, sources.variables, names=names, progress=progress)
    view_blocks = views.convert()
    services = Services(repository, views.parts, names=names, progress=progress)
    service_blocks = services.convert()
    for other in repository.others:
        kind, next_step = _ELSEWHERE.get(other.kind, (other.kind, "See docs/how-to/feast.md"))
        progress.failed(kind, other.name, "there is nothing like it", next_step)
    if not repository.services:
        progress.note(
            "No feature service is defined. Views are looked up through one: list some in tm.FeatureService([...])."
        )
    if repository.online not in ("", "sqlite"):
        progress.note(f"Feast kept online features in {repository.online}. Here that is online= in tidemill.toml; "
                      "see docs/how-to/online-stores.md.")  # fmt: skip
    body = _sections({"Sources": source_blocks, "Feature views": view_blocks, "Feature services": service_blocks})
    imports = ("import polars as pl\n" if "pl." in body else "") + "import tidemill as tm\n"
    head = _HEAD.format(project=repository.project)
    return Conversion(
        text=f"{head}{imports}{body}",
        converted=progress.converted,
        not_converted=progress.problems,
        notes=progress.notes,
    )


def _sections(sections: dict[str, list[str]]) -> str:
    """Blocks under headings; two empty lines around a function, one between plain statements."""
    text = ""
    for title, blocks in sections.items():
        heading = comment(f"-- {title} {'-' * (WIDTH - 6 - len(title))}")
        for block in [heading, *blocks] if blocks else []:
            loose = block.startswith(("def ", "@")) or _ends_in_function(text)
            text += ("\n\n" if loose else "\n") + block
    return text


def _ends_in_function(text: str) -> bool:
    last = text.rstrip("\n").rpartition("\n")[2]
    return last.startswith("    ")


class Services:
    """Converts the services of a repository.

    Args:
        repository: The repository.
        parts: Feast's view -> what it became.
        names: The variables of the file.
        progress: Is told what becomes of them.
    """

    def __init__(self, repository: Repository, parts: dict[str, Part], *, names: Names, progress: Progress) -> None:
        self._repository = repository
        self._parts = parts
        self._names = names
        self._progress = progress

    def convert(self) -> list[str]:
        """The text of each service, and of the rows it is asked with where no source has them."""
        return [block for service in self._repository.services for block in self._service(service)]

    def _service(self, service: Service) -> list[str]:
        uses = [(use, self._parts[use.view]) for use in service.uses if use.view in self._parts]
        if absent := [use.view for use in service.uses if use.view not in self._parts]:
            self._progress.failed(SERVICE, service.name, f"{', '.join(absent)} could not be converted",
                                  "Add what replaces it to the list of the service")  # fmt: skip
        if not uses:
            return [prose(f"Not converted: {service.name}. None of its views could be.")]
        self._complete(service, uses)
        name, variable = snake(service.name), self._names.variable(service.name, "service")
        self._progress.done(SERVICE, service.name, f"tm.FeatureService {name}")
        given = None if name == variable else quoted(name)
        parts = listing([self._use(use, part) for use, part in uses])
        node = call("tm.FeatureService", parts, name=given, **people(service))
        return [*self._rows(service, name, uses), assign(variable, node)]

    def _complete(self, service: Service, uses: list[tuple[Use, Part]]) -> None:
        """Add the stored features that are read on demand: Feast fetches them without being asked to."""
        read = dict.fromkeys(pair for _, part in uses for pair in part.stored)
        for view in dict.fromkeys(name for name, _ in read):
            features = [feature for name, feature in read if name == view]
            found = next(
                (n for n, (use, _) in enumerate(uses) if use.view == view and not use.alias and not use.keys), None
            )
            if found is None:
                uses.append((Use(view=view, features=features), self._parts[view]))
            elif uses[found][0].features:
                use, part = uses[found]
                features = [feature for feature in features if feature not in use.features]
                uses[found] = (msgspec.structs.replace(use, features=[*use.features, *features]), part)
            else:
                continue
            if features:
                listed = ", ".join(f"{self._parts[view].name}__{feature}" for feature in features)
                self._progress.note(f"Service {service.name} has {listed} as well: its on-demand features read it.")

    def _use(self, use: Use, part: Part) -> Node:
        text = part.variable
        if use.version:
            self._progress.note(f"{use.view} was pinned to {use.version}; what is converted is its newest version.")
        if not part.keys:
            return text
        if use.keys:
            columns = {key: quoted(column) for key, column in use.keys.items()}
            text += one_line(
                call(".on", **columns)
                if all(map(str.isidentifier, columns))
                else call(".on", f"**{one_line(mapping(columns))}")
            )
        if use.alias:
            text += f".prefix({quoted(snake(use.alias) + '_')})"
            self._progress.note(
                f"Features of {use.view} as {use.alias} are called {snake(use.alias)}_{part.name}__FEATURE."
            )
        if not use.features or (part.is_state and set(use.features) == set(part.features)):
            return text
        return Group(f"{text}.select(", ")", tuple(("", quoted(one)) for one in use.features))

    def _rows(self, service: Service, name: str, uses: list[tuple[Use, Part]]) -> list[str]:
        """A source of the rows a service is asked with, unless those of one of its views will do."""
        keys = {use.keys.get(key, key): key for use, part in uses for key in part.keys}
        request = {field.name: field for _, part in uses for field in part.request}
        if not request and any(set(keys) == set(part.keys) and not use.keys for use, part in uses):
            return []
        known = {one.key: one.type for one in self._repository.entities}
        columns = [Field(name=column, type=known.get(key, "UNKNOWN")) for column, key in keys.items()]
        return [self._requests(name, [*columns, *request.values()])]

    def _requests(self, service: str, columns: Iterable[Field]) -> str:
        label = f"{service}_requests"
        types = mapping({column: quoted(kind) for column, kind in types_of(columns).items()})
        about = prose(
            f"The rows {service} is asked with, in Feast those of the entity frame: train on them, push them."
        )
        node = call("tm.Source", quoted(label), time=quoted(REQUEST_TIME), types=types)
        return about + assign(self._names.variable(label), node)
