"""``ecomfs explain``: how one row is answered, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ecomfs.cli import options as o

if TYPE_CHECKING:
    from ecomfs.types import Row


def explain(
    row: Annotated[
        str,
        typer.Argument(
            metavar="TEXT", help="the row: its text; or for tasks of several fields a JSON object"
        ),
    ],
    task: o.Task,
    examples: o.MaybeExamples = None,
    influence: Annotated[
        bool,
        typer.Option(
            "--influence", help="read it again without each demonstration: which ones mattered"
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    engine: o.Engine = "auto",
    k: o.K = None,
    embedder: o.Embedder = "auto",
    language: o.Language = None,
    template: o.Template = None,
    readout: o.Readout = "auto",
    strategy: o.Strategy = "balanced",
    similarity: o.Similarity = "auto",
    calibrate: o.Calibrate = 48,
    profile: o.Profile = None,
    fusion: o.Fusion = True,
    field: o.Fields = None,
    label_column: o.LabelColumn = None,
    pool_name: o.PoolName = "default",
    shots: o.Shots = None,
    synthetic: o.Synthetic = True,
    seed: o.Seed = 0,
) -> None:
    """Explain one row: the distribution after each step, the demonstrations, the prompt."""
    import json

    given = as_row(row)
    fields = o.parse_fields(field)
    _, pool = o.load_pool(
        task, examples, fields, label_column, None, shots, seed, pool_name, synthetic=synthetic
    )
    clf = o.classifier(
        task, engine=engine, k=k, embedder=embedder, language=language, template=template,
        readout=readout, strategy=strategy, similarity=similarity, seed=seed, fields=fields,
        calibration_size=calibrate, profile=profile, fusion=fusion,
    )  # fmt: skip
    with o.to_fit(examples, pool, shots, pool_name, synthetic=synthetic) as labelled:
        clf.fit(labelled)
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
