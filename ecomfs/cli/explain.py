"""``ecomfs explain``: how one row is answered, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ecomfs.cli import groups as g
from ecomfs.cli import progress
from ecomfs.cli.unfold import unfolded
from ecomfs.progress import LOADING

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

    from ecomfs.data import as_rows
    from ecomfs.errors import InputError

    given = as_row(row)
    promises.check(labelled, fitting)
    card, pool = labelled.load()
    # A wrong field does not wait for the model.
    needed = [spec.name for spec in card.fields if spec.required]
    if isinstance(given, str) and len(needed) != 1:
        raise InputError(
            f"a row of task {card.name!r} is no plain text: it has {', '.join(needed)}",
            hint="write a JSON object: '{" + f'"{needed[0]}": "…"' + ", …}'",
        )
    as_rows([given], card, labelled.fields)
    phases = progress.show(LOADING)
    clf = g.classifier(labelled, reading, fitting, promises)
    with labelled.to_fit(pool) as examples:
        clf.fit(examples, progress=phases)
        phases.clear()
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
