"""``ecomfs ab``: which prompt is better, and is that shown?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecomfs.cli import options as o

if TYPE_CHECKING:
    from rich.console import Console

    from ecomfs.batch.compare import Variant
    from ecomfs.pipeline import Pipeline
    from ecomfs_eval import Predictions
    from ecomfs_eval.compare import Comparisons, Flip
    from ecomfs_eval.metrics import Score

METRICS = {"accuracy": "accuracy", "f1_macro": "macro-F1"}


def ab(
    templates: Annotated[
        list[str],
        typer.Argument(
            metavar="A B [C …]",
            help="templates: a version (v1), a .jinja file, or en=A.jinja,zh=B.jinja; "
            "the first is the one in use",
        ),
    ],
    task: o.Task,
    examples: o.Examples,
    data: Annotated[Path, typer.Option("--data", "-d", help="table of rows with true labels")],
    label_column: Annotated[
        str | None,
        typer.Option(help="column that holds the label in both tables [by the task's names]"),
    ] = None,
    pool_label_column: Annotated[
        str | None, typer.Option(help="the pool's, where it differs")
    ] = None,
    engine: o.Engine = "auto",
    k: o.K = None,
    embedder: o.Embedder = "auto",
    language: o.Language = None,
    readout: o.Readout = "auto",
    strategy: o.Strategy = "balanced",
    similarity: o.Similarity = "auto",
    field: o.Fields = None,
    id_column: o.IdColumn = None,
    calibrate: o.Calibrate = 48,
    pool_name: o.PoolName = "default",
    shots: o.Shots = None,
    synthetic: o.Synthetic = True,
    seed: o.Seed = 0,
    limit: o.Limit = None,
    margin: Annotated[
        float | None,
        typer.Option(help="smallest accuracy difference that matters (0.01 is one point)"),
    ] = None,
    show: Annotated[int, typer.Option(help="rows to show that changed their answer")] = 20,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="write the whole comparison here")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no progress bar")] = False,
) -> None:
    """Score templates on the same rows and test whether they differ."""
    from rich.console import Console

    from ecomfs.batch import read_examples, sample_examples
    from ecomfs.batch.compare import check_templates, parse_variants, score_rows, with_gold
    from ecomfs.cli.present import progress
    from ecomfs.errors import ConfigError
    from ecomfs_eval import Bootstrap, EvalError, compare_many

    variants = parse_variants(templates)
    if json_path is not None:
        _check_target(json_path)
    fields = o.parse_fields(field)
    card, full = o.load_pool(
        task, examples, fields, pool_label_column or label_column, None, None, seed, pool_name,
        synthetic,
    )  # fmt: skip
    rows = read_examples(data, card, fields=fields, label_column=label_column, id_column=id_column)
    rows = with_gold(rows if limit is None else rows[:limit], card, full, data.name)
    pool = full if shots is None else sample_examples(full, shots, seed)
    check_templates(variants, card, task, language)
    # Every contender is fitted before the first row is read: an error in the last one must not
    # cost the time of the others.
    pipelines = [
        o.classifier(
            task, engine=engine, k=k, embedder=embedder, language=language,
            template=variant.template, readout=readout, strategy=strategy, similarity=similarity,
            seed=seed, calibration_size=calibrate,
        ).fit(pool).pipeline_
        for variant in variants
    ]  # fmt: skip
    systems = []
    for variant, pipeline in zip(variants, pipelines, strict=True):
        with progress(f"{variant.name} {variant.source}", quiet=quiet) as report:
            systems.append(score_rows(rows, pipeline, variant.name, on_progress=report))
    how = Bootstrap(seed=seed)
    try:
        result = compare_many(systems, margin=margin, how=how)
    except EvalError as error:
        raise ConfigError(error.message, hint=error.hint) from error
    table = [_scores(system, how) for system in systems]
    if json_path is not None:
        _write(json_path, _report(variants, pipelines, table, result, len(pool), seed))
    console = Console()
    first = pipelines[0]
    console.print(
        f"{len(rows)} rows · {len(pool)} labelled examples · k = {first.k} · "
        f"{first.engine.spec} · 95 % intervals",
        highlight=False,
    )
    _print_scores(console, variants, pipelines, table)
    _print_differences(console, result)
    _print_flips(console, systems, result, show)
    console.print(f"\n[bold]{_escape(_decision(result))}[/]", highlight=False)


def _scores(system: Predictions, how: Any) -> dict[str, Score]:
    from ecomfs_eval import get_metric, scores

    return scores({name: get_metric(name) for name in METRICS}, system, how)


def _print_scores(
    console: Console,
    variants: list[Variant],
    pipelines: list[Pipeline],
    table: list[dict[str, Score]],
) -> None:
    from rich.table import Table

    out = Table("", "template")
    for title in METRICS.values():
        out.add_column(title, no_wrap=True)
    for variant, pipeline, found in zip(variants, pipelines, table, strict=True):
        shas = ", ".join(f"{lang} {ref.rpartition('@')[2]}" for lang, ref in _refs(pipeline))
        source = f"{variant.source} ({shas})"
        out.add_row(variant.name, _escape(source), *(found[m].text() for m in METRICS))
    console.print(out)


def _print_differences(console: Console, result: Comparisons) -> None:
    """In lines, not in a table: a narrow terminal would cut the intervals."""
    many = len(result.comparisons)
    corrected = f", Holm over {many}" if many > 1 else ""
    console.print("differences in points, paired bootstrap intervals:")
    for c in result.comparisons:
        deltas = " · ".join(f"{title} {c[m].text()}" for m, title in METRICS.items())
        p = "p undefined" if c.p_value is None else f"p = {c.p_value:.3g}"
        console.print(
            f"  {c.b} − {c.a}: {deltas}\n"
            f"         right only in {c.a}: {c.mcnemar.only_a}, only in {c.b}: "
            f"{c.mcnemar.only_b} · exact McNemar {p}{corrected}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


def _print_flips(
    console: Console, systems: list[Predictions], result: Comparisons, show: int
) -> None:
    """One line a row that some challenger answers differently: what it broke first."""
    from rich.table import Table

    rank = {"broken": 0, "fixed": 1, "changed": 2}
    flipped: dict[str, Flip] = {}
    for c in result.comparisons:
        for flip in c.flips:
            kept = flipped.get(flip.id)
            if kept is None or rank[flip.kind] < rank[kept.kind]:
                flipped[flip.id] = flip
    if not flipped:
        console.print("no row changed its answer")
        return
    answers: dict[str, list[str]] = {id_: [f.a] for id_, f in flipped.items()}
    for c in result.comparisons:
        changed = {f.id: f.b for f in c.flips}
        for id_, row in answers.items():
            row.append(changed.get(id_, row[0]))
    ordered = sorted(flipped.values(), key=lambda f: rank[f.kind])
    out = Table(
        "id", "text", "gold", *(s.name for s in systems), "",
        title=f"{len(flipped)} rows changed their answer", title_justify="left",
    )  # fmt: skip
    for flip in ordered[: max(show, 0)]:
        text = " ".join(flip.extra_a["text"].split())
        short = text if len(text) <= 60 else text[:59] + "…"
        cells = (flip.id, short, flip.gold, *answers[flip.id], flip.kind)
        out.add_row(*(_escape(cell) for cell in cells))
    if show > 0:
        console.print(out)
    if len(ordered) > show:
        console.print(
            f"{len(ordered)} rows changed their answer; see all with --show or --json",
            highlight=False,
        )


def _report(
    variants: list[Variant],
    pipelines: list[Pipeline],
    table: list[dict[str, Score]],
    result: Comparisons,
    n_examples: int,
    seed: int,
) -> dict[str, Any]:
    first = pipelines[0]
    return {
        "task": first.card.name,
        "engine": first.engine.spec,
        "fingerprint": first.engine.fingerprint,
        "k": first.k,
        "seed": seed,
        "examples": n_examples,
        "rows": result.comparisons[0].rows,
        "systems": [
            {
                "name": variant.name,
                "source": variant.source,
                "templates": dict(_refs(pipeline)),
                "scores": {name: score.to_dict() for name, score in found.items()},
            }
            for variant, pipeline, found in zip(variants, pipelines, table, strict=True)
        ],
        **result.to_dict(),
        "decision": _decision(result),
    }


def _decision(result: Comparisons) -> str:
    """The line for people; of one comparison it says more than the summary of several."""
    if len(result.comparisons) == 1:
        return result.comparisons[0].decision.text
    return result.decision


def _refs(pipeline: Pipeline) -> list[tuple[str, str]]:
    return [(lang, str(voice.builder.template.ref)) for lang, voice in pipeline.voices.items()]


def _check_target(path: Path) -> None:
    from ecomfs.errors import OutputError

    if path.is_dir() or not path.parent.is_dir():
        why = "is a folder" if path.is_dir() else f"no folder {path.parent}"
        raise OutputError(f"{path}: {why}", hint="name a file in a folder that exists")


def _write(path: Path, report: dict[str, Any]) -> None:
    import json
    import os

    from ecomfs.errors import OutputError

    part = path.with_name(path.name + ".part")
    try:
        part.write_text(
            json.dumps(report, ensure_ascii=False, indent=2, allow_nan=False) + "\n",
            encoding="utf-8",
        )
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"{path}: {error.strerror}") from error


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
