"""Jinja's immutable sandbox with limits on time, memory and recursion.

Jinja's sandbox keeps a template away from Python's internals, but a template may still run for ever
or fill the memory. Here every rendering has a budget of *steps* and of printed characters. A step
is an iteration, a call, a filter or a piece of a value that is read; slower operations cost more.
Steps are counted, not timed, so that a template that renders on one machine renders on every other
one, however busy. An operation whose result would be too large is refused before it runs.

Loops are counted through the syntax tree: what a loop iterates over goes through a counting
iterator. Nothing is traced, and no thread or process is needed.
"""

from __future__ import annotations

import functools
import itertools
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.runtime import BlockReference, Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

MOST_STEPS = 500_000
"""Steps of one rendering; the shipped templates with 1,000 labels and 64 demonstrations need
28,000."""
MOST_CHARACTERS = 1_000_000
"""Characters that one rendering may print, in addition to eight times its input."""
MOST_DEPTH = 40
"""Nesting depth of macros, blocks and recursive loops."""
MOST_SOURCE = 200_000
"""Characters of a template's source."""
_MOST_DIGITS = 4_000
_MOST_WIDTH = 10_000
_READ = 200  # characters of a text that are read in a step
_LOOP, _WEIGHED, _JOINED = "ecomfs-loop", "ecomfs-weighed", "ecomfs-joined"
_WIDE = re.compile(r"\d{5,}")
_RESULTS = (str, bytes, list, tuple, dict, set, frozenset)
DICT_METHODS = frozenset(dir(dict))
"""Names that are read as methods of a dict in a template; any other name is one of its keys."""


class TemplateLimitError(SecurityError):
    """A template that takes too many steps, or makes too large a value.

    >>> TemplateLimitError("more than 500,000 steps").message
    'more than 500,000 steps'
    """


class _Budget:
    """What is left of the budget of one rendering."""

    __slots__ = ("characters", "depth", "most_characters", "per_call", "steps")

    def __init__(self, given: int, per_call: int) -> None:
        self.steps = MOST_STEPS
        self.most_characters = self.characters = MOST_CHARACTERS + 8 * given
        self.per_call = per_call
        self.depth = 0

    def spend(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise TemplateLimitError(
                f"more than {MOST_STEPS:,} steps: a loop or macro is too long, or does not end"
            )

    def make(self, characters: int) -> None:
        """Check that a text of that length may be made."""
        if characters > self.most_characters:
            raise TemplateLimitError(f"a text or list of more than {self.most_characters:,} parts")
        self.spend(1 + characters // _READ)

    def show(self, characters: int) -> None:
        self.characters -= characters
        if self.characters < 0:
            raise TemplateLimitError(f"prints more than {self.most_characters:,} characters")


class _ThreadState(threading.local):
    budget: _Budget | None = None


_RUNNING = _ThreadState()


def _budget() -> _Budget:
    """The budget of the rendering in this thread. While a template is compiled there is none; the
    error makes Jinja leave a constant expression to the rendering."""
    budget = _RUNNING.budget
    if budget is None:
        raise TemplateLimitError("outside of a rendering")
    return budget


@contextmanager
def limited(given: int = 0, size: int = 1) -> Iterator[None]:
    """Limits for the rendering of one template in this thread.

    Parameters
    ----------
    given : int
        Characters of the texts that the template is given.
    size : int
        Parts of the template: steps that a call of one of its macros costs.

    Raises
    ------
    TemplateLimitError
        The template takes too many steps, or makes too large a value.

    Examples
    --------
    >>> template = BoundedEnvironment().from_string("{{ 'x' * 10**9 }}")
    >>> with limited():
    ...     template.render()
    Traceback (most recent call last):
    ecomfs.core.sandbox.TemplateLimitError: a text or list of more than 1,000,000 parts
    """
    before, _RUNNING.budget = _RUNNING.budget, _Budget(given, size)
    try:
        yield
    finally:
        _RUNNING.budget = before


def line_of(error: BaseException) -> int | None:
    """The line of the template that raised an error; ``None`` if no code of the template ran.

    >>> template = BoundedEnvironment().from_string("one\\n{{ 1 // 0 }}")
    >>> try:
    ...     with limited():
    ...         template.render()
    ... except ZeroDivisionError as error:
    ...     line_of(error)
    2
    """
    found, step = None, error.__traceback__
    while isinstance(step, TracebackType):
        # Jinja replaces the frames of the compiled code by frames of the template.
        if "__jinja_exception__" in step.tb_frame.f_globals:
            found = step.tb_lineno
        step = step.tb_next
    return found


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """A sandbox whose templates are rendered within :func:`limited`.

    Parameters
    ----------
    filters : mapping, optional
        Filters in addition to Jinja's own.
    **options
        Options of Jinja's ``Environment``.

    Examples
    --------
    >>> template = BoundedEnvironment().from_string("{% for x in y %}{{ x }}{% endfor %}")
    >>> with limited():
    ...     template.render(y=[1, 2])
    '12'
    """

    intercepted_binops = frozenset({"*", "**", "+", "%"})

    def __init__(
        self, filters: Mapping[str, Callable[..., Any]] | None = None, **options: Any
    ) -> None:
        # Constants are computed while rendering, where their steps are counted.
        super().__init__(optimized=False, finalize=_shown, **options)
        del self.globals["lipsum"]  # random text of any length
        known = {**FILTERS, **(filters or {})}
        self.filters = {name: _counted(name, filter) for name, filter in known.items()}
        self.filters |= {_LOOP: _loop, _WEIGHED: _weighed, _JOINED: _joined}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        if len(source) > MOST_SOURCE:
            raise TemplateLimitError(f"longer than {MOST_SOURCE:,} characters")
        tree = super()._parse(source, name, filename)
        _Counting().visit(tree)
        tree.set_environment(self)
        return tree

    def getattr(self, obj: Any, attribute: str) -> Any:
        """As Jinja's, but a key of a dict is looked up first, which is faster."""
        if type(obj) is dict and attribute in obj and attribute not in DICT_METHODS:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """As Jinja's; refuses a result that is too large."""
        budget = _budget()
        if operator == "*":
            _check_product(budget, left, right)
        elif operator == "**":
            _check_power(left, right)
        elif operator == "+" and isinstance(left, _RESULTS):
            budget.make(len(left) + (len(right) if isinstance(right, _RESULTS) else 0))
        elif operator == "%" and isinstance(left, str | bytes):
            _check_format(budget, left, right)
        return self.binop_table[operator](left, right)

    def call(
        __self,  # noqa: N805 (as Jinja declares it)
        __context: Context,
        __obj: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """As Jinja's, within the budget."""
        budget = _budget()
        own = isinstance(__obj, Macro | LoopContext | BlockReference)
        if own:
            budget.spend(budget.per_call)
            _weigh(budget, (args, kwargs))
            if isinstance(__obj, LoopContext):
                args = tuple(_loop(arg, 1) for arg in args)
            if budget.depth >= MOST_DEPTH:
                raise TemplateLimitError(f"more than {MOST_DEPTH} nested macros or blocks")
        else:
            _check_method(budget, __obj, args, kwargs)
        budget.depth += own
        try:
            result = super().call(__context, __obj, *args, **kwargs)
        finally:
            budget.depth -= own
        if isinstance(result, str):
            budget.make(len(result))
        elif isinstance(result, (*_RESULTS, Namespace)):
            _weigh(budget, result)
        return result

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """As Jinja's, with bounded widths."""
        if super().wrap_str_format(value) is None:
            return None
        text, by_mapping = str(value.__self__), value.__name__ == "format_map"

        @functools.wraps(value)
        def bounded(*args: Any, **kwargs: Any) -> str:
            if by_mapping:
                args, kwargs = (), dict(*args, **kwargs)
            return _Formatter(self).vformat(text, args, kwargs)

        return bounded


class _Formatter(SandboxedFormatter):
    """Jinja's formatter with bounded widths; a value that is shown twice counts twice."""

    _made = 0

    def format_field(self, value: Any, format_spec: str) -> Any:
        budget = _budget()
        _check_width(format_spec)
        _weigh(budget, value)
        text = super().format_field(value, format_spec)
        self._made += len(text)
        budget.make(self._made)
        return text

    def convert_field(self, value: Any, conversion: Any) -> Any:
        _weigh(_budget(), value)
        return super().convert_field(value, conversion)


class _Counting(NodeTransformer):
    """Inserts the counting filters into the syntax tree of a template."""

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        if isinstance(node, nodes.For):
            parts = sum(1 + _data(one) // _READ for body in node.body for one in _all(body))
        self.generic_visit(node)
        match node:
            case nodes.For():
                node.iter = _through(node.iter, _LOOP, nodes.Const(parts))
            case nodes.Concat():
                return _through(nodes.List(node.nodes, lineno=node.lineno), _JOINED)
            case nodes.List() | nodes.Dict():
                return _through(node, _WEIGHED)
            case nodes.Tuple() if node.ctx == "load":
                return _through(node, _WEIGHED)
            case nodes.Pair():
                node.key = _through(node.key, _WEIGHED)
            case nodes.Compare() | nodes.Operand():
                node.expr = _through(node.expr, _WEIGHED)
            case nodes.Test() if node.name not in ("defined", "undefined"):
                node.node = _through(node.node, _WEIGHED)
                node.args = [_through(arg, _WEIGHED) for arg in node.args]
            case nodes.Getitem() if node.ctx == "load":
                if isinstance(node.arg, nodes.Slice):
                    node.node = _through(node.node, _WEIGHED)
                else:
                    node.arg = _through(node.arg, _WEIGHED)
        return node


def template_size(source: nodes.Template) -> int:
    """Number of parts of a template, the ``size`` of :func:`limited`.

    >>> template_size(BoundedEnvironment().parse("{{ x }}"))
    3
    """
    return sum(1 + _data(node) // _READ for node in _all(source))


def _all(node: nodes.Node) -> Iterator[nodes.Node]:
    yield node
    for child in node.iter_child_nodes():
        yield from _all(child)


def _data(node: nodes.Node) -> int:
    return len(node.data) if isinstance(node, nodes.TemplateData) else 0


def _through(node: Any, name: str, *args: nodes.Expr) -> nodes.Expr:
    if isinstance(node, nodes.Const) and name == _WEIGHED:
        return node
    return nodes.Filter(node, name, list(args), [], None, None, lineno=node.lineno)


class _Counted:
    """An iterable whose iterations are counted."""

    def __init__(self, items: Iterable[Any], parts: int) -> None:
        self._items, self._parts = items, parts

    def __iter__(self) -> Iterator[Any]:
        budget, parts = _budget(), self._parts
        for item in self._items:
            budget.spend(parts)
            yield item


class _CountedSized(_Counted):
    def __len__(self) -> int:
        return len(self._items)  # type: ignore[arg-type]


def _loop(items: Any, parts: int) -> Any:
    sized = isinstance(items, (*_RESULTS, range))
    return (_CountedSized if sized else _Counted)(items, 1 + parts)


def _weighed(value: Any) -> Any:
    budget, kind = _RUNNING.budget or _budget(), type(value)
    if kind is str:  # nearly always
        budget.spend(1 + len(value) // _READ)
    elif kind not in (int, bool, float):
        _weigh(budget, value)
    return value


def _joined(pieces: list[Any]) -> str:
    budget = _budget()
    _weigh(budget, pieces)
    texts = [piece if isinstance(piece, str) else str(piece) for piece in pieces]
    budget.make(sum(map(len, texts)))
    return "".join(texts)


def _shown(value: Any) -> Any:
    """Count the value of ``{{ … }}``, and return it."""
    budget = _RUNNING.budget or _budget()
    if type(value) is str:  # nearly always
        budget.characters -= len(value)
        if budget.characters < 0:
            budget.show(0)
        return value
    if type(value) not in (int, bool, float):
        _weigh(budget, value)
    text = str(value)
    budget.show(len(text))
    return text


def _weigh(budget: _Budget, value: Any) -> int:
    """Spend the steps that it takes to read a whole value, and return their number. A list that
    another one contains twice counts twice: it would be printed twice."""
    start, left = budget.steps, [iter([value])]
    while left:
        for item in left[-1]:
            if isinstance(item, str | bytes):
                budget.spend(1 + len(item) // _READ)
                continue
            budget.spend(1)
            if (inner := _items(item)) is not None:
                left.append(iter(inner))
                break
        else:
            left.pop()
    return start - budget.steps


def _items(value: Any) -> Iterable[Any] | None:
    if isinstance(value, Mapping):
        return itertools.chain.from_iterable(value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return value
    if isinstance(value, Namespace):
        attributes: dict[str, Any] = object.__getattribute__(value, "_Namespace__attrs")
        return attributes.items()
    return None


def _size(value: Any) -> int:
    """Steps that it takes to read a value, without its items."""
    if isinstance(value, str | bytes):
        return 1 + len(value) // _READ
    return 1 + len(value) if isinstance(value, _RESULTS) else 1


_SHALLOW = frozenset(
    {"abs", "attr", "batch", "count", "d", "default", "first", "float", "groupby", "int", "items"}
    | {"last", "length", "list", "map", "random", "reject", "rejectattr", "reverse", "round"}
    | {"select", "selectattr", "slice"}
)
"""Filters that do not read the items of their value."""


def _counted(name: str, filter: Callable[..., Any]) -> Callable[..., Any]:
    """The filter with its steps counted."""
    first = 1 if hasattr(filter, "jinja_pass_arg") else 0
    deep = name not in _SHALLOW

    @functools.wraps(filter)
    def counted(*args: Any, **kwargs: Any) -> Any:
        budget = _budget()
        if deep and len(args) > first and isinstance(args[first], Iterator):
            args = (*args[:first], list(_Counted(args[first], 1)), *args[first + 1 :])
        given = (*args[first:], *kwargs.values())
        if deep:
            _weigh(budget, given)
        else:
            budget.spend(sum(map(_size, given)))
        _check_filter(budget, name, args[first:], kwargs)
        result = filter(*args, **kwargs)
        if isinstance(result, _RESULTS):
            budget.make(len(result))
        return result

    return counted


def _check_filter(
    budget: _Budget, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    """Refuse a filter whose result would be too large."""
    if not args:
        return
    value, *rest = args
    settings = [*rest, *kwargs.values()]
    if name == "format":
        _check_format(budget, str(value), (*rest, *kwargs.values()))
        return
    if name == "join":
        between = kwargs.get("d", rest[0] if rest else "")
        if isinstance(value, _RESULTS):
            budget.make(len(value) * (1 + len(str(between))))
        return
    if name in ("default", "d", "map", "sum"):
        return
    if name == "replace" and len(settings) >= 2:
        text, old, new = str(value), str(settings[0]), str(settings[1])
        budget.make(len(text) + (text.count(old) if old else len(text) + 1) * len(new))
        return
    if name == "indent":
        width = settings[0] if settings else 4
        lines = str(value).count("\n") + 1
        budget.make(lines * (len(width) if isinstance(width, str) else _number(width)))
        return
    for one in settings:
        if isinstance(one, str | bytes):
            if len(one) > _MOST_WIDTH:
                raise TemplateLimitError(f"{name}: an argument of more than {_MOST_WIDTH:,} parts")
        elif isinstance(one, int):
            _number(one)
    if name == "wordwrap":
        wrap = max((len(one) for one in settings if isinstance(one, str)), default=1)
        budget.make((len(str(value)) + 1) * max(1, wrap))
    elif name in ("urlize", "xmlattr"):
        parts = str(value).count(".") + str(value).count("@") + str(value).count(":") + 1
        budget.make(parts * sum(len(one) for one in settings if isinstance(one, str)))


def _check_method(
    budget: _Budget, method: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    """Refuse a call whose result would be too large."""
    given = (*args, *kwargs.values())
    _weigh(budget, given)
    owner, name = getattr(method, "__self__", None), getattr(method, "__name__", "")
    if isinstance(owner, list | tuple):
        _weigh(budget, owner)  # count and index compare
    if not isinstance(owner, str | bytes):
        return
    size = len(owner)
    budget.spend(size // _READ)
    widest = max((one for one in given if isinstance(one, int)), default=8)
    if name in ("center", "ljust", "rjust", "zfill"):
        budget.make(max(size, widest))
    elif name == "expandtabs":
        tabs = owner.count("\t") if isinstance(owner, str) else owner.count(b"\t")
        budget.make(size + tabs * widest)
    elif name == "replace" and len(given) >= 2:
        old, new = given[:2]
        if isinstance(old, type(owner)) and isinstance(new, type(owner)):
            times = owner.count(old) if old else size + 1  # type: ignore[arg-type]
            budget.make(size + times * len(new))
    elif name == "join" and given:
        (parts,) = given[:1]
        if not isinstance(parts, _RESULTS):
            raise TemplateLimitError("join of a value without a length: use the filter join")
        budget.make(size * len(parts) + sum(map(_length, parts)))
    elif name == "translate" and given and isinstance(given[0], Mapping):
        budget.make(size * max(map(_length, given[0].values()), default=1))
    elif name.endswith(("split", "splitlines")):
        budget.spend(size // 20)  # one text for each part


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str | bytes) else 1


def _number(value: Any) -> int:
    if isinstance(value, int) and abs(value) > _MOST_WIDTH:
        raise TemplateLimitError(f"a size of more than {_MOST_WIDTH:,}")
    return int(value) if isinstance(value, int) else 0


def _check_product(budget: _Budget, left: Any, right: Any) -> None:
    for value, times in ((left, right), (right, left)):
        if isinstance(value, _RESULTS) and isinstance(times, int):
            budget.make(len(value) * max(times, 0))
            return
    if isinstance(left, int) and isinstance(right, int):
        _check_digits(left.bit_length() + right.bit_length())


def _check_power(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int) and right > 0:
        _check_digits(left.bit_length() * right if abs(left) > 1 else 1)


def _check_digits(bits: int) -> None:
    if bits > 3.33 * _MOST_DIGITS:
        raise TemplateLimitError(f"a number of more than {_MOST_DIGITS:,} digits")


def _check_format(budget: _Budget, text: str | bytes, given: Any) -> None:
    """Refuse a format with a large width, such as ``'%9999999d' % 1``."""
    shown = text if isinstance(text, str) else text.decode("latin-1")
    _check_width(shown)
    if "*" in shown:
        raise TemplateLimitError("the width * in a format: write a number")
    # A format may show one name many times.
    widest = max(map(int, re.findall(r"\d+", shown)), default=0)
    budget.make(len(text) + shown.count("%") * (widest + _weigh(budget, given) * _READ))


def _check_width(spec: str) -> None:
    if _WIDE.search(spec):
        raise TemplateLimitError("a width of more than 4 digits in a format")
