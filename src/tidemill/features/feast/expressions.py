"""Functions of pandas and plain Python as Polars expressions, where both mean the same."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Callable, Mapping, Sequence

from tidemill.features.feast.layout import quoted
from tidemill.features.feast.repository import Code

_ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div)
_LOGIC = (ast.BitAnd, ast.BitOr)
_ORDER = (ast.Gt, ast.GtE, ast.Lt, ast.LtE, ast.Eq, ast.NotEq)
_TYPES = {
    "float": "Float64", "float64": "Float64", "double": "Float64", "float32": "Float32", "int": "Int64", "int64": "Int64",
    "int32": "Int32",
}  # fmt: skip
_FUNCTIONS = {"log": "log", "log1p": "log1p", "exp": "exp", "sqrt": "sqrt", "abs": "abs", "fabs": "abs"}
_PARTS = ("year", "month", "day", "hour", "minute", "second")


class Untranslatable(Exception):
    """A function does something that has no counterpart; the text says what."""


def translated(code: Code, columns: Mapping[str, str]) -> dict[str, str]:
    r"""What a function makes, as Polars expressions over `pl.col(...)`.

    Args:
        code: The function: of a frame (`pandas`), of a mapping of lists, or of a mapping of values (`python`).
        columns: What it calls its columns -> what they are called.

    Returns:
        Output -> expression, in order.

    Raises:
        Untranslatable: It does something else than arithmetic, comparisons and a few functions, row by row.

    Example:
        >>> text = "def f(rows):\n    out = pd.DataFrame()\n    out['double'] = rows['x'] * 2\n    return out"
        >>> translated(Code(mode="pandas", text=text), {"x": "x"})
        {'double': 'pl.col("x") * 2'}
    """
    if code.mode not in ("pandas", "python"):
        raise Untranslatable(f"it is written for {code.mode}")
    function = _function(code.text)
    outputs = _Body(code, function, columns).outputs()
    return {name: _written(value) for name, value in outputs.items()}


def _function(text: str) -> ast.FunctionDef:
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):  # the latter for characters that no source may hold
        body = []
    found = body[0] if body else None
    if not isinstance(found, ast.FunctionDef) or len(found.args.args) != 1:
        raise Untranslatable("its text is not a function of one argument")
    return found


class _Body:
    """The statements of a function, read in order."""

    def __init__(self, code: Code, function: ast.FunctionDef, columns: Mapping[str, str]) -> None:
        self._function = function
        self._lists = code.mode == "python" and not code.singleton
        self._expressions = _Expressions(function.args.args[0].arg, columns, in_lists=self._lists)
        self._made: dict[str, dict[str, ast.expr]] = {}

    def outputs(self) -> dict[str, ast.expr]:
        for statement in self._function.body:
            if isinstance(statement, ast.Return):
                return self._returned(statement)
            if not isinstance(statement, ast.Import | ast.ImportFrom) and not _is_docstring(statement):
                self._assigned(statement)
        raise _cannot(self._function, "it returns nothing at its end")

    def _returned(self, statement: ast.Return) -> dict[str, ast.expr]:
        value = statement.value
        made = self._made.get(value.id) if isinstance(value, ast.Name) else self._container(value)
        if not made:
            raise _cannot(statement)
        return made

    def _assigned(self, statement: ast.stmt) -> None:
        target, value = _assignment(statement)
        if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name) and target.value.id in self._made:
            self._made[target.value.id][_key(target.slice)] = self._value(value)
        elif isinstance(target, ast.Name):
            container = self._container(value)
            if container is None:
                self._expressions.keep(target.id, self._value(value), value)
            else:
                self._made[target.id] = container
        else:
            raise _cannot(statement)

    def _container(self, value: ast.expr | None) -> dict[str, ast.expr] | None:
        """What `{...}`, `dict()` or `pd.DataFrame({...})` holds."""
        if isinstance(value, ast.Call) and _text(value.func) in ("pd.DataFrame", "pandas.DataFrame", "dict"):
            if not value.args and not value.keywords:
                return {}
            value = value.args[0] if len(value.args) == 1 and not value.keywords else value
        if not isinstance(value, ast.Dict):
            return None
        return {_key(key): self._value(one) for key, one in zip(value.keys, value.values, strict=True)}

    def _value(self, value: ast.expr) -> ast.expr:
        """A value of the output: of lists it has to be made element by element, for `+` of two would join them."""
        if not self._lists:
            return self._expressions.translate(value)
        if isinstance(value, ast.ListComp) and len(value.generators) == 1 and not value.generators[0].ifs:
            return self._expressions.within(value.generators[0], value.elt)
        if isinstance(value, ast.Subscript):
            return self._expressions.translate(value)
        raise _cannot(value)


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _assignment(statement: ast.stmt) -> tuple[ast.expr, ast.expr]:
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        return statement.targets[0], statement.value
    if isinstance(statement, ast.AnnAssign) and statement.value is not None:
        return statement.target, statement.value
    raise _cannot(statement)


def _key(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise _cannot(node)


def _cannot(node: ast.AST | None, what: str | None = None) -> Untranslatable:
    if what is not None or node is None:
        return Untranslatable(what or "it has an empty part")
    line = _text(node).splitlines()[0]
    return Untranslatable(f"line {getattr(node, 'lineno', '?')} of its function, `{line}`, has no counterpart here")


def _text(node: ast.AST) -> str:
    try:
        return ast.unparse(node)
    except ValueError:  # some f-strings cannot be written in the syntax of every Python
        return f"... ({type(node).__name__})"


class _Expressions:
    """Expressions over the input."""

    def __init__(self, frame: str, columns: Mapping[str, str], *, in_lists: bool) -> None:
        self._frame = frame
        self._columns = columns
        self._in_lists = in_lists
        self.known: dict[str, ast.expr] = {}
        self._logical: set[str] = set()
        self._forms: dict[type[ast.expr], Callable[..., ast.expr]] = {
            ast.Constant: self._constant, ast.Name: self._name, ast.Subscript: self._column, ast.BinOp: self._arithmetic,
            ast.UnaryOp: self._unary, ast.Compare: self._comparison, ast.BoolOp: self._logic, ast.IfExp: self._choice,
            ast.Call: self._call, ast.Attribute: self._part,
        }  # fmt: skip

    def translate(self, node: ast.expr) -> ast.expr:
        form = self._forms.get(type(node))
        if form is None:
            raise _cannot(node)
        return form(node)

    def keep(self, name: str, value: ast.expr, origin: ast.expr) -> None:
        """A value the function calls by a name from here on."""
        self._logical -= {name}
        if self._is_logical(origin):
            self._logical |= {name}
        self.known[name] = value

    def within(self, loop: ast.comprehension, element: ast.expr) -> ast.expr:
        """An element of `[... for x in column]` or `[... for x, y in zip(column, column)]`."""
        zipped = isinstance(loop.iter, ast.Call) and _text(loop.iter.func) == "zip"
        columns: Sequence[ast.expr] = loop.iter.args if zipped and isinstance(loop.iter, ast.Call) else [loop.iter]
        names = loop.target.elts if isinstance(loop.target, ast.Tuple) else [loop.target]
        if len(columns) != len(names) or not all(isinstance(one, ast.Subscript) for one in columns):
            raise _cannot(loop.iter)
        inner = _Expressions(self._frame, {}, in_lists=False)
        inner.known = {_text(name): self.translate(one) for name, one in zip(names, columns, strict=True)}
        return inner.translate(element)

    def _constant(self, node: ast.Constant) -> ast.expr:
        if not isinstance(node.value, int | float | str | bool | None):
            raise _cannot(node)
        return node

    def _name(self, node: ast.Name) -> ast.expr:
        if node.id not in self.known:
            raise _cannot(node, f"line {node.lineno} of its function reads {node.id!r}, which is not made there")
        return self.known[node.id]

    def _column(self, node: ast.Subscript) -> ast.expr:
        if not isinstance(node.value, ast.Name) or node.value.id != self._frame:
            raise _cannot(node)
        name = _key(node.slice)
        if name not in self._columns:
            raise _cannot(node, f"line {node.lineno} of its function reads {name!r}, which is none of its inputs")
        return _code(f"pl.col({self._columns[name]!r})")

    def _arithmetic(self, node: ast.BinOp) -> ast.expr:
        if not isinstance(node.op, (*_ARITHMETIC, *_LOGIC)):
            raise _cannot(node)
        sides = [_literal(side) if _is_text(side) else side for side in map(self.translate, (node.left, node.right))]
        return ast.BinOp(sides[0], node.op, sides[1])

    def _unary(self, node: ast.UnaryOp) -> ast.expr:
        inner = self.translate(node.operand)
        if isinstance(node.op, ast.USub):
            return ast.UnaryOp(ast.USub(), inner)
        if isinstance(node.op, ast.Invert | ast.Not) and self._is_logical(node.operand):
            return ast.UnaryOp(ast.Invert(), _literal(inner))
        raise _cannot(node)

    def _comparison(self, node: ast.Compare) -> ast.expr:
        if isinstance(node.ops[0], ast.Is | ast.IsNot) and _text(node.comparators[0]) == "None" and len(node.ops) == 1:
            return _method(self.translate(node.left), "is_null" if isinstance(node.ops[0], ast.Is) else "is_not_null")
        if not all(isinstance(op, _ORDER) for op in node.ops):
            raise _cannot(node)
        sides = [self.translate(one) for one in (node.left, *node.comparators)]
        pairs = [ast.Compare(sides[i], [op], [sides[i + 1]]) for i, op in enumerate(node.ops)]
        return _joined(ast.BitAnd(), pairs)

    def _logic(self, node: ast.BoolOp) -> ast.expr:
        if not all(map(self._is_logical, node.values)):
            raise _cannot(node)
        return _joined(
            ast.BitAnd() if isinstance(node.op, ast.And) else ast.BitOr(), list(map(self.translate, node.values))
        )

    def _choice(self, node: ast.IfExp) -> ast.expr:
        if not self._is_logical(node.test):
            raise _cannot(node)
        chosen = _method(_code("pl"), "when", self.translate(node.test))
        then = _method(chosen, "then", _literal(self.translate(node.body)))
        return _method(then, "otherwise", _literal(self.translate(node.orelse)))

    def _call(self, node: ast.Call) -> ast.expr:
        if len(node.args) > 1 or node.keywords:
            raise _cannot(node)
        argument, name = (node.args[0] if node.args else None), _text(node.func)
        prefix, _, last = name.rpartition(".")
        if argument is not None and last in _FUNCTIONS and prefix in ("np", "numpy", "math", ""):
            return _method(self.translate(argument), _FUNCTIONS[last])
        if argument is not None and name in ("float", "int"):
            return _method(self.translate(argument), "cast", _code(f"pl.{_TYPES[name]}"))
        if isinstance(node.func, ast.Attribute):
            return self._method(node, node.func, argument)
        raise _cannot(node)

    def _method(self, node: ast.Call, function: ast.Attribute, argument: ast.expr | None) -> ast.expr:
        if function.attr == "abs" and argument is None:
            return _method(self.translate(function.value), "abs")
        # Of a plain column only: pandas fills in what a computation left undefined as well, such as 0 / 0.
        if (
            function.attr == "fillna"
            and isinstance(argument, ast.Constant)
            and isinstance(function.value, ast.Subscript)
        ):
            return _method(self.translate(function.value), "fill_null", self.translate(argument))
        kind = "" if argument is None else _text(argument).strip("'").removeprefix("np.").removeprefix("numpy.")
        if function.attr == "astype" and kind in _TYPES:
            return _method(self.translate(function.value), "cast", _code(f"pl.{_TYPES[kind]}"))
        raise _cannot(node)

    def _is_logical(self, node: ast.expr) -> bool:
        """Whether a value is true or false, so that `and` gives what `&` gives."""
        if isinstance(node, ast.BinOp):
            return isinstance(node.op, _LOGIC) and self._is_logical(node.left) and self._is_logical(node.right)
        if isinstance(node, ast.UnaryOp):
            return not isinstance(node.op, ast.USub) and self._is_logical(node.operand)
        if isinstance(node, ast.Name):
            return node.id in self._logical
        return isinstance(node, ast.Compare | ast.BoolOp)

    def _part(self, node: ast.Attribute) -> ast.expr:
        """`rows["at"].dt.hour`."""
        if isinstance(node.value, ast.Attribute) and node.value.attr == "dt" and node.attr in _PARTS:
            return _method(ast.Attribute(self.translate(node.value.value), "dt"), node.attr)
        raise _cannot(node)


def _joined(op: ast.operator, parts: Sequence[ast.expr]) -> ast.expr:
    found = parts[0]
    for part in parts[1:]:
        found = ast.BinOp(found, op, part)
    return found


def _method(value: ast.expr, name: str, *arguments: ast.expr) -> ast.expr:
    return ast.Call(ast.Attribute(_literal(value), name), list(arguments), [])


def _literal(value: ast.expr) -> ast.expr:
    """What is made of constants alone as an expression: `pl.when(...).then("x")` would read column x, and 1 has no method."""
    return (
        value if any(isinstance(one, ast.Name) for one in ast.walk(value)) else _code(f"pl.lit({ast.unparse(value)})")
    )


def _is_text(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _code(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _written(value: ast.expr) -> str:
    """The text of an expression, with texts quoted as a formatter has them."""
    text = ast.unparse(ast.fix_missing_locations(_literal(value)))
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    for token in reversed(tokens):
        if token.type == tokenize.STRING:
            text = text[: token.start[1]] + quoted(ast.literal_eval(token.string)) + text[token.end[1] :]
    return text
