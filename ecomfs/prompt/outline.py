"""A prompt with the row left open: rendered once, and filled in for each row.

Most templates do no more with a row than print it, so that all else is the same in the prompts of
all rows with the same demonstrations. Whether a template is one of these is read from its syntax
tree; any other is rendered for each row.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jinja2 import nodes

from ecomfs.core.sandbox import MOST_CHARACTERS, OF_DICTS

_OPEN = frozenset({"row", "text"})
_SECRET = secrets.token_hex(8)
"""Nobody who writes a row or a template can know it."""
_HOLE = re.compile(f"\ue000(\\d*)-{_SECRET}\ue001")


class Outline(NamedTuple):
    """The text of a prompt around the values of its row.

    Attributes:
        pieces: the text before, between and after the values.
        values: what stands between two pieces: a field's name, or ``None`` for the row's text.

    >>> Outline(("Review: ", "\\nSentiment:"), ("text",)).fill({"text": "fits"}, "")
    'Review: fits\\nSentiment:'
    """

    pieces: tuple[str, ...]
    values: tuple[str | None, ...]

    @classmethod
    def of(cls, rendered: str, names: Sequence[str]) -> Outline:
        """Of a prompt that was rendered with :func:`holes`."""
        found = _HOLE.split(rendered)
        values = [names[int(place)] if place else None for place in found[1::2]]
        return cls(tuple(found[::2]), tuple(values))

    def fill(self, cells: Mapping[str, Any], text: str) -> str | None:
        """The prompt of a row; ``None`` where it has to be rendered: a value is no text, it is
        missing, or the prompt may be too long."""
        parts, length = [self.pieces[0]], len(self.pieces[0])
        for name, piece in zip(self.values, self.pieces[1:], strict=True):
            value = text if name is None else cells.get(name)
            if type(value) is not str:
                return None
            parts += value, piece
            length += len(value) + len(piece)
        return "".join(parts).rstrip() if length <= MOST_CHARACTERS else None


def holes(names: Sequence[str]) -> dict[str, Any]:
    """What stands for a row, and for its text, in a prompt of which an outline is made."""
    row = {name: f"\ue000{place}-{_SECRET}\ue001" for place, name in enumerate(names)}
    return {"row": row, "text": f"\ue000-{_SECRET}\ue001"}


def only_prints_rows(tree: nodes.Template) -> bool:
    """Whether all that a template does with a row, or its text, is to print it as it is.

    >>> from ecomfs.core.sandbox import BoundedEnvironment
    >>> parse = BoundedEnvironment().parse
    >>> only_prints_rows(parse("{% for x in labels %}{{ x }}{% endfor %}{{ row.text }}"))
    True
    >>> only_prints_rows(parse("{{ text | upper }}")), only_prints_rows(parse("{{ row }}"))
    (False, False)
    """
    names = [node for node in tree.find_all(nodes.Name) if node.name in _OPEN]
    # Imported and inherited templates see the names without naming them.
    return len(names) == _printed(tree) and not any(
        tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends))
    )


def _printed(node: nodes.Node) -> int:
    """How many values of a row are printed, below conditions and loops alone."""
    if isinstance(node, nodes.Output):
        return sum(map(_is_value, node.nodes))
    if isinstance(node, nodes.Template | nodes.If | nodes.For):
        return sum(map(_printed, node.iter_child_nodes()))
    return 0


def _is_value(node: nodes.Node) -> bool:
    match node:
        case nodes.Name(name="text"):
            return True
        case nodes.Getattr(node=nodes.Name(name="row"), attr=field):
            return field not in OF_DICTS
        case nodes.Getitem(node=nodes.Name(name="row"), arg=nodes.Const(value=str())):
            return True
    return False
