"""``ecomfs explain``: how one row is answered, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ecomfs.cli import groups as g
from ecomfs.cli.unfold import unfolded

if TYPE_CHECKING:
    from ecomfs.types import Row


@unfolded
def explain(
    row: Annotated[
        str,
        typer.Argument(
            metavar="TEXT", help="the row: its text; or for tasks of several fields a JSON object"
        ),
    ],
    labelled: g.MaybeLabelled,
    reading: g.Reading,
    fitting: g.Fitting,
    promises: g.Promises,
    influence: Annotated[
        bool,
        typer.Option(
            "--influence", help="read it again without each demonstration: which ones mattered"
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Explain one row: the distribution after each step, the demonstrations, the prompt."""
    import json

    given = as_row(row)
    promises.check(labelled, fitting)
    _, pool = labelled.load()
    clf = g.classifier(labelled, reading, fitting, promises)
    with labelled.to_fit(pool) as examples:
        clf.fit(examples)
        g.tell(promises, clf)
        told = clf.explain(given, influence=influence)
    print(json.dumps(told.to_dict(), ensure_ascii=False, indent=2) if as_json else told)


def as_row(text: str) -> str | Row:
    """A JSON object as fields, anything else as the text of the row.

    Raises:
        InputError: it begins like a JSON object and is none.

    >>> as_row('{"age": 30}'), as_row("broke after a day")
    ({'age': 30}, 'broke after a day')
    """
    import json

    from ecomfs.errors import InputError

    if not text.lstrip().startswith("{"):
        return text
    try:
        fields: Row = json.loads(text)
    except ValueError as error:
        raise InputError(
            f"the row is no JSON object: {error}",
            hint='write {"field": "value", …}; a text that begins with { goes in "text"',
        ) from error
    return fields


__all__ = ["explain"]
