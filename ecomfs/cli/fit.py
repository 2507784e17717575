"""``ecomfs fit``: find out on the pool how far the model can be trusted, and keep it in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecomfs.cli import groups as g
from ecomfs.cli import options as o
from ecomfs.cli.progress import show
from ecomfs.cli.unfold import unfolded
from ecomfs.core.progress import CHECKING

if TYPE_CHECKING:
    from ecomfs.fit import Profile


@unfolded
def fit(
    labelled: g.Labelled,
    reading: g.Reading,
    promises: g.Promises,
    output: Annotated[Path, typer.Option("--output", "-o", help="the profile")] = Path(
        "profile.json"
    ),
    budget: Annotated[
        int, typer.Option(help="most readings in all; what was read before costs nothing")
    ] = 240,
    calibrate: o.Calibrate = 48,
    fusion: o.Fusion = True,
) -> None:
    """Choose k and read-out, calibrate, weigh the model against the cheap experts, and fit the
    thresholds for what is asked to be promised: leave-one-out on the pool, with no gradients."""
    phases = show(CHECKING)
    from ecomfs.cli.prepare import check_targets
    from ecomfs.cli.present import note
    from ecomfs.errors import ConfigError

    if calibrate < 1 or budget < calibrate:
        raise ConfigError(
            f"a budget of {budget} readings, {calibrate} of them to calibrate",
            hint="use --calibrate of 1 or more, and a --budget of at least that",
        )
    # A fit takes a while; that it cannot be written is told now.
    check_targets([Path(s) for s in labelled.sources if not g.is_pool(s)], [output])
    _, pool = labelled.load()
    fitting = g.Fitting(calibrate, fusion)
    clf = g.classifier(labelled, reading, fitting, promises, tune=budget - calibrate)
    with labelled.to_fit(pool) as examples:
        clf.fit(examples, progress=phases)
    phases.clear()
    profile = clf.profile_
    if profile is None:
        raise ConfigError(
            f"{', '.join(labelled.sources)}: no example to read", hint="add labelled examples"
        )
    profile.save(output)
    print_profile(profile)
    note(f"wrote {output}: use it with --profile {output}")
    note(phases.text())


def print_profile(profile: Profile) -> None:
    """A profile in a few lines, on standard output."""
    from rich.console import Console
    from rich.table import Table

    from ecomfs.cli.present import promised

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
        weights = profile.fusion.components[0].weights
        console.print(
            "weights: " + ", ".join(f"{name} {weight:.2f}" for name, weight in weights.items()),
            highlight=False,
        )
        components = ("all together", "the experts alone", "the model alone", "the label shares")
        averaged = zip(components, profile.fusion.weights, strict=True)
        console.print(
            "averaged: " + ", ".join(f"{name} {weight:.0%}" for name, weight in averaged),
            highlight=False,
        )
    for line in (*promised(found), *(f"note: {text}" for text in found["notes"])):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
