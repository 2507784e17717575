"""How results look on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from ecomfs.batch import ScoreResult, Tally
    from ecomfs.pipeline import Pipeline
    from ecomfs_eval import Predictions


@contextmanager
def progress(name: str, *, quiet: bool = False) -> Iterator[Callable[[Tally], None]]:
    """A progress bar with rows/s, tokens, cache share and time left, on standard error."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=quiet,
        transient=True,
    )
    with bar:
        job = bar.add_task(name, total=1.0, detail="")

        def report(tally: Tally) -> None:
            speed = tally.rows / tally.seconds if tally.seconds else 0.0
            share = tally.cache_share
            detail = f"{tally.rows} rows · {speed:.1f}/s · {tally.prompt_tokens:,} tokens"
            if share is not None:
                detail += f" · {share:.0%} cached"
            bar.update(job, completed=tally.progress or 0.0, detail=detail)

        yield report


def summary(result: ScoreResult, pipeline: Pipeline, n_examples: int) -> None:
    """What was done, on standard error (standard output stays free for pipes)."""
    console = Console(stderr=True)
    tally = result.tally
    counts = " · ".join(f"{n} {name}" for name, n in tally.status.items() if n)
    speed = f", {tally.rows / tally.seconds:.1f} rows/s" if tally.seconds else ""
    share = f", {tally.cache_share:.0%} of tokens cached" if tally.cache_share else ""
    console.print(
        f"{tally.rows} rows ({counts}) in {tally.seconds:.1f} s{speed}{share}\n"
        f"{_shots(n_examples, pipeline.k)} · {pipeline.engine.spec} · wrote {result.output}",
        highlight=False,
    )


def labelled(n_examples: int) -> str:
    """How many examples a result had; that it had none is said aloud.

    >>> labelled(0), labelled(16)
    ('zero-shot: no labelled examples', '16 labelled examples')
    """
    return f"{n_examples} labelled examples" if n_examples else "zero-shot: no labelled examples"


def _shots(n_examples: int, k: int) -> str:
    if not n_examples:
        return labelled(0)
    return f"{labelled(n_examples)} · k = {k}" + ("" if k else " (zero-shot prompts)")


SHOWN = {"accuracy": "accuracy", "f1_macro": "macro-F1", "roc_auc": "AUC", "log_loss": "log loss"}


def metrics_table(
    systems: Mapping[str, Predictions],
    n_examples: int,
    *,
    seed: int = 0,
    shown: Mapping[str, str] = SHOWN,
    notes: bool = False,
) -> None:
    """The main metrics with 95 % intervals, one line a system, on standard output.

    Args:
        shown: metric of the harness → its title.
        notes: also print, once each, what the metrics say of their values: rows left out, units
            resampled, why there is no value.
    """
    from ecomfs_eval import METRICS, Bootstrap, scores

    first = next(iter(systems.values()))
    table = Table(
        title=f"n = {len(first)} rows with a true label · {labelled(n_examples)} · 95 % intervals",
        title_justify="left",
    )
    for column in ("system", *shown.values()):
        table.add_column(column)
    how = Bootstrap(seed=seed)
    said: dict[str, list[str]] = {}
    for name, predictions in systems.items():
        found = scores({key: METRICS[key] for key in shown}, predictions, how)
        table.add_row(name, *(found[key].text() for key in shown))
        for key, score in found.items():
            for text in filter(None, [score.reason, *score.note.split("; ")]):
                said.setdefault(text, []).append(f"{shown[key]} of {name}")
    console = Console()
    console.print(table)
    if notes:
        for text, places in said.items():
            where = "" if len(places) == len(shown) * len(systems) else f" ({', '.join(places)})"
            console.print(f"note: {text}{where}", highlight=False, markup=False, soft_wrap=True)
