"""Groups of options: one parameter in the code of a verb, many on its command line.

Typer reads a command's options from its signature. A group is a frozen dataclass whose fields
are written as such parameters are; :func:`unfolded` puts the fields in the place of the group,
and collects the values again when the command is called.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from copy import copy
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from typer.models import OptionInfo


def unfolded(command: Callable[..., None]) -> Callable[..., None]:
    """The command with every parameter that is a group unfolded into the group's fields.

    Its parameters are given by keyword. Groups come in the order of the signature; a group's
    ``PANEL`` is the heading that its options have in ``--help``.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Size:
    ...     width: int
    ...     height: int = 1
    >>> @unfolded
    ... def area(size: Size, unit: str = "cm²") -> None:
    ...     print(size.width * size.height, unit)
    >>> list(inspect.signature(area).parameters)
    ['width', 'height', 'unit']
    >>> area(width=3, height=2)
    6 cm²
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, tuple[type, list[str]]] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if is_dataclass(kind) and isinstance(kind, type):
            unfolding = _parameters(kind)
            groups[parameter.name] = kind, [p.name for p in unfolding]
            parameters += unfolding
        else:
            parameters.append(
                parameter.replace(annotation=kind, kind=inspect.Parameter.KEYWORD_ONLY)
            )
    signature = inspect.Signature(parameters)

    @functools.wraps(command)
    def collecting(**given: Any) -> None:
        bound = signature.bind(**given)
        bound.apply_defaults()
        values = dict(bound.arguments)
        for name, (kind, members) in groups.items():
            values[name] = kind(**{member: values.pop(member) for member in members})
        command(**values)

    collecting.__signature__ = signature  # type: ignore[attr-defined]
    collecting.__annotations__ = {p.name: p.annotation for p in parameters}
    return collecting


@functools.cache  # many verbs have the same groups, and every start of the command pays for it
def _parameters(group: type) -> tuple[inspect.Parameter, ...]:
    hints = get_type_hints(group, include_extras=True)
    return tuple(
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=_under(getattr(group, "PANEL", None), hints[field.name]),
        )
        for field in fields(group)
    )


def _under(panel: str | None, hint: Any) -> Any:
    """The annotation with its option under a heading, unless it names one itself."""
    if panel is None or get_origin(hint) is not Annotated:
        return hint
    kind, *extras = get_args(hint)
    for place, info in enumerate(extras):
        if isinstance(info, OptionInfo) and info.rich_help_panel is None:
            extras[place] = copy(info)
            extras[place].rich_help_panel = panel
    return Annotated[(kind, *extras)]


__all__ = ["unfolded"]
