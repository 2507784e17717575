"""``ecomfs fit``: find out on the pool how far the model can be trusted, and keep it in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecomfs.cli import options as o

if TYPE_CHECKING:
    from ecomfs.fit import Profile


def fit(
    task: o.Task,
    examples: o.Examples,
    output: Annotated[Path, typer.Option("--output", "-o", help="the profile")] = Path(
        "profile.json"
    ),
    engine: o.Engine = "auto",
    budget: Annotated[
        int, typer.Option(help="most readings in all; what was read before costs nothing")
    ] = 240,
    calibrate: o.Calibrate = 48,
    max_loss: Annotated[
        float | None,
        typer.Option(help="accuracy that may be lost by not asking the model, such as 0.01"),
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option(help="of rows accepted without a person, such as 0.95; others abstain"),
    ] = None,
    coverage: Annotated[
        float | None, typer.Option(help="of prediction sets, such as 0.9: adds the sets")
    ] = None,
    novel_below: Annotated[
        float | None,
        typer.Option(help="leave rows to a person that look this unlikely to fit any label (0.05)"),
    ] = None,
    fusion: o.Fusion = True,
    k: o.K = None,
    embedder: o.Embedder = "auto",
    language: o.Language = None,
    template: o.Template = None,
    readout: o.Readout = "auto",
    strategy: o.Strategy = "balanced",
    similarity: o.Similarity = "auto",
    shortlist: o.Shortlist = None,
    field: o.Fields = None,
    label_column: o.LabelColumn = None,
    pool_name: o.PoolName = "default",
    shots: o.Shots = None,
    synthetic: o.Synthetic = True,
    seed: o.Seed = 0,
) -> None:
    """Choose k and read-out, calibrate, weigh the model against the cheap experts, and fit the
    thresholds for what is asked to be promised: leave-one-out on the pool, with no gradients."""
    from rich.console import Console
    from rich.progress import Progress

    from ecomfs.errors import ConfigError

    if calibrate < 1 or budget < calibrate:
        raise ConfigError(
            f"a budget of {budget} readings, {calibrate} of them to calibrate",
            hint="use --calibrate of 1 or more, and a --budget of at least that",
        )
    fields = o.parse_fields(field)
    _, pool = o.load_pool(
        task, examples, fields, label_column, None, shots, seed, pool_name, synthetic=synthetic
    )
    clf = o.classifier(
        task, engine=engine, k=k, embedder=embedder, language=language, template=template,
        readout=readout, strategy=strategy, similarity=similarity, shortlist=shortlist,
        seed=seed, fields=fields,
        calibration_size=calibrate, tune=budget - calibrate, fusion=fusion, max_loss=max_loss,
        precision=precision, coverage=coverage, novel_below=novel_below,
    )  # fmt: skip
    with Progress(console=Console(stderr=True), transient=True) as bar:
        job = bar.add_task("reading the pool, leave-one-out")
        with o.to_fit(examples, pool, shots, pool_name, synthetic=synthetic) as labelled:
            clf.fit(
                labelled, on_progress=lambda done, total: bar.update(
                    job, completed=done, total=total
                )
            )  # fmt: skip
    profile = clf.profile_
    if profile is None:
        raise ConfigError(f"{examples}: no example to read", hint="add labelled examples")
    profile.save(output)
    show(profile)
    Console(stderr=True).print(f"wrote {output}: use it with --profile {output}", highlight=False)


def show(profile: Profile) -> None:
    """A profile in a few lines, on standard output."""
    from rich.console import Console
    from rich.table import Table

    found = profile.found
    console = Console()
    console.print(
        f"{profile.task} · {profile.fitted_on.examples} labelled examples, "
        f"{found['readings']} read leave-one-out · k = {profile.k} · "
        + ", ".join(sorted(set(profile.readout.values()))),
        highlight=False,
        soft_wrap=True,
    )
    table = Table()
    for column in ("after step", "log loss", "accuracy"):
        table.add_column(column)
    for step, loss in found["loss"].items():
        table.add_row(step, f"{loss:.3f}", f"{found['accuracy'][step]:.1%}")
    console.print(table)
    if profile.fusion is not None:
        w = profile.fusion.accounts[0]
        console.print(
            f"weights: model {w.model:.2f}, neighbours {w.vote:.2f}, probe {w.probe:.2f}",
            highlight=False,
        )
        who = ("all together", "the experts alone", "the model alone", "nobody: the label shares")
        believed = zip(who, profile.fusion.beliefs, strict=True)
        console.print(
            "who knows: " + ", ".join(f"{name} {belief:.0%}" for name, belief in believed),
            highlight=False,
        )
    for name, what in (("skip", "answered without the model"), ("accept", "accepted")):
        seen = found.get(name)
        if seen is not None:
            console.print(
                f"{what}: confidence of {seen['value']:.3f} or more, {seen['share']:.0%} of "
                f"{seen['rows']} rows, {seen['error']:.1%} of these wrong",
                highlight=False,
            )
    for note in found["notes"]:
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
