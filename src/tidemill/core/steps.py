"""Steps and pipelines: decorated functions that stay functions, and the graph recorded when a pipeline is traced."""

from __future__ import annotations

import functools
import inspect
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar, overload

from tidemill.core.code import code_digest
from tidemill.core.context import use_runner
from tidemill.core.errors import InvalidArgument
from tidemill.core.specs.definition import Definition
from tidemill.core.specs.features import FeatureView
from tidemill.core.times import Duration, parse_duration

P = ParamSpec("P")
R = TypeVar("R")

OUTPUTS: Mapping[str, int] = {"training_set": 1, "split": 2, "search": 1, "promote": 1}
"""How many results each operation of the platform has."""


@dataclass(frozen=True, eq=False, repr=False)
class Handle:
    """A result that does not exist yet: output `index` of a node of a pipeline being traced."""

    node: Node
    index: int = 0

    def __repr__(self) -> str:
        return f"<result of {self.node.id!r}>"

    def __iter__(self) -> Iterator[Any]:
        raise InvalidArgument(f"{self.node.name!r} gives one result, which exists only when the pipeline runs",
                              hint="Loop inside a step, or declare several outputs: @tm.step(outputs=2)")  # fmt: skip

    def __bool__(self) -> bool:
        raise InvalidArgument(f"the result of {self.node.name!r} exists only when the pipeline runs",
                              hint="Decide inside a step, or call the pipeline with plain functions")  # fmt: skip

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise InvalidArgument(f"{name!r} of the result of {self.node.name!r} exists only when the pipeline runs",
                              hint="Read it inside a step")  # fmt: skip

    def _misused(self, *others: object) -> Any:
        raise InvalidArgument(f"the result of {self.node.name!r} exists only when the pipeline runs",
                              hint="Compare, compute and format it inside a step")  # fmt: skip

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _misused
    __getitem__ = __len__ = __contains__ = __call__ = __format__ = __int__ = __float__ = _misused
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _misused
    __hash__ = object.__hash__


@dataclass(frozen=True, eq=False)
class Node:
    """One call recorded while tracing: of a step, or of an operation of the platform."""

    id: str
    """Unique in its graph: the name, with a number when it is called more than once."""
    name: str
    target: Step[..., Any] | str
    """The step, or the name of the operation."""
    arguments: Mapping[str, Any]
    outputs: int = 1

    def upstream(self) -> Iterator[Handle]:
        """The handles among the arguments, nested ones included."""
        yield from _handles(self.arguments)


def _handles(value: Any) -> Iterator[Handle]:
    if isinstance(value, Handle):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _handles(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _handles(item)


def fill(value: Any, results: Callable[[Handle], Any]) -> Any:
    """A value with the handles in it replaced by their results; what holds none is returned as it is.

    Args:
        value: An argument, or what a pipeline function returned.
        results: Gives the result of a handle.

    Example:
        >>> fill({"a": [1, 2]}, lambda handle: None)
        {'a': [1, 2]}
    """
    if isinstance(value, Handle):
        return results(value)
    if next(_handles(value), None) is None:
        return value
    if isinstance(value, Mapping):
        return {key: fill(item, results) for key, item in value.items()}
    filled = [fill(item, results) for item in value]
    return type(value)(*filled) if hasattr(value, "_fields") else type(value)(filled)


@dataclass
class StepGraph:
    """The nodes of a traced pipeline in the order of their calls, which is an order they can run in."""

    name: str
    nodes: list[Node] = field(default_factory=list)
    result: Any = None

    def record(self, name: str, target: Step[..., Any] | str, arguments: Mapping[str, Any], outputs: int) -> Any:
        """Add a node; returns its handle, or a tuple of handles when it has several outputs."""
        same = sum(1 for node in self.nodes if node.name == name)
        node = Node(name if same == 0 else f"{name}-{same + 1}", name, target, arguments, outputs)
        self.nodes.append(node)
        if outputs == 1:
            return Handle(node)
        return tuple(Handle(node, index) for index in range(outputs))

    def run(self, operation: str, arguments: Mapping[str, Any]) -> Any:
        """Record an operation; see `tidemill.core.context.OperationRunner`."""
        return self.record(operation, operation, arguments, OUTPUTS[operation])


_graph: ContextVar[StepGraph | None] = ContextVar("tidemill_graph", default=None)


@contextmanager
def _tracing(graph: StepGraph) -> Iterator[None]:
    token = _graph.set(graph)
    try:
        with use_runner(graph):
            yield
    finally:
        _graph.reset(token)


class Step(Definition, Generic[P, R]):
    """A tracked function. Called outside a pipeline being traced it is the plain function.

    Args:
        function: The function.
        outputs: How many results it returns.
        cache: Whether an equal call may reuse the result.
        retries: How often a failed call is tried again.
        timeout: How long a call may take.
    """

    kind: ClassVar[str] = "step"

    def __init__(
        self, function: Callable[P, R], *, outputs: int = 1, cache: bool = True, retries: int = 0,
        timeout: Duration | None = None,
    ) -> None:  # fmt: skip
        if outputs < 1 or retries < 0:
            raise InvalidArgument(f"outputs={outputs}, retries={retries}", expected="outputs >= 1 and retries >= 0")
        functools.update_wrapper(self, function)
        self.function = function
        self.outputs = outputs
        self.cache = cache
        self.retries = retries
        self.timeout = None if timeout is None else parse_duration(timeout)
        self.bind(function.__name__)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        graph = _graph.get()
        if graph is None:
            return self.function(*args, **kwargs)
        handle: R = graph.record(self.name, self, self.arguments(*args, **kwargs), self.outputs)
        return handle

    def arguments(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The arguments of a call by parameter name, defaults included.

        Raises:
            InvalidArgument: They do not fit the function.
        """
        signature = inspect.signature(self.function)
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidArgument(f"step {self.name!r}: {error}", known=list(signature.parameters)) from None
        bound.apply_defaults()
        return dict(bound.arguments)

    def call(self, arguments: Mapping[str, Any]) -> Any:
        """Call the function with arguments as `arguments` gives them: those of `*args` and `**kwargs` are gathered there."""
        bound = inspect.BoundArguments(inspect.signature(self.function), OrderedDict(arguments))
        return self.function(*bound.args, **bound.kwargs)

    def __reduce_ex__(self, protocol: Any) -> Any:
        # A step travels by its name, and arrives as the step that has this name there; at a prompt it has none elsewhere.
        module, name = sys.modules.get(self.__module__), self.function.__qualname__
        named = self.__module__ != "__main__" and getattr(module, name, None) is self
        return name if named else super().__reduce_ex__(protocol)

    def describe(self) -> dict[str, Any]:
        return {"code": code_digest(self.function), "outputs": self.outputs}


@dataclass(frozen=True)
class OnChange:
    """Starts a pipeline when the definition of a feature view changes (a new version is applied)."""

    view: FeatureView

    def describe(self) -> list[str]:
        return ["on_change", self.view.name]


def on_change(view: FeatureView) -> OnChange:
    """A trigger: run when an applied feature view gets a new version."""
    if not isinstance(view, FeatureView):
        raise InvalidArgument(f"on_change takes a feature view, not {view!r}")
    return OnChange(view)


class Pipeline(Definition, Generic[P, R]):
    """A function that composes steps. Called plainly it runs as a plain function; `trace` records its graph.

    Args:
        function: The function.
        triggers: What starts it besides people and monitors.
    """

    kind: ClassVar[str] = "pipeline"

    def __init__(self, function: Callable[P, R], *, triggers: Sequence[OnChange] = ()) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.triggers = tuple(triggers)
        self.bind(function.__name__)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def parameters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a run: those given, and the defaults.

        Raises:
            InvalidArgument: A name is unknown, or a value is missing.
        """
        signature = inspect.signature(self.function)
        try:
            bound = signature.bind(**given)
        except TypeError as error:
            raise InvalidArgument(f"pipeline {self.name!r}: {error}", known=list(signature.parameters)) from None
        bound.apply_defaults()
        return dict(bound.arguments)

    def trace(self, arguments: Mapping[str, Any]) -> StepGraph:
        """Record the steps a call would take, without running them."""
        graph = StepGraph(self.name)
        with _tracing(graph):
            graph.result = self.function(**arguments)  # type: ignore[call-arg]
        return graph

    def describe(self) -> dict[str, Any]:
        return {"code": code_digest(self.function), "triggers": [trigger.describe() for trigger in self.triggers]}


@overload
def step(function: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(
    *, outputs: int = 1, cache: bool = True, retries: int = 0, timeout: Duration | None = None
) -> Callable[[Callable[P, R]], Step[P, R]]: ...
def step(function: Callable[P, R] | None = None, /, **options: Any) -> Any:
    """Make a tracked step of a function; it stays callable as the plain function.

    Example:
        >>> @step
        ... def double(x: int) -> int:
        ...     return 2 * x
        >>> double(4)
        8
    """
    return functools.partial(Step, **options) if function is None else Step(function, **options)


@overload
def pipeline(function: Callable[P, R], /) -> Pipeline[P, R]: ...
@overload
def pipeline(*, triggers: Sequence[OnChange] = ()) -> Callable[[Callable[P, R]], Pipeline[P, R]]: ...
def pipeline(function: Callable[P, R] | None = None, /, **options: Any) -> Any:
    """Make a pipeline of a function that composes steps."""
    return functools.partial(Pipeline, **options) if function is None else Pipeline(function, **options)
