"""``ecomfs fit``: tune and calibrate on the pool, and save the result as a profile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecomfs.cli import options as o
from ecomfs.cli.classifier import RequiredExamples, check_guarantees, classifier_of_task, is_pool
from ecomfs.cli.json_result import set_result
from ecomfs.cli.terminal import show_phases
from ecomfs.core.progress import CHECKING

if TYPE_CHECKING:
    from ecomfs.fit import Profile


@o.flatten_options
def fit(
    labelled: RequiredExamples,
    settings: o.Choosing,
    output: Annotated[Path, typer.Option("--output", "-o", help="the profile")] = Path(
        "profile.json"
    ),
) -> None:
    """Choose k and the read-out, calibrate, weigh model and experts, and fit the thresholds of the
    guarantees, all leave-one-out on the pool, without gradients.

    It takes at most --tune + --calibration-size readings; cached readings are free."""
    phases = show_phases(CHECKING)
    from ecomfs.cli.prepare import check_targets
    from ecomfs.cli.present import guarantee_lines, note, notes_of, plain
    from ecomfs.errors import ConfigError
    from ecomfs.fit import Profile

    if settings["calibration_size"] < 1:
        raise ConfigError("--calibration-size 0: nothing to fit", hint="use 1 or more")
    check_guarantees(settings, labelled)
    check_targets([Path(s) for s in labelled.sources if not is_pool(s)], [output])
    _, pool = labelled.load()
    clf = classifier_of_task(labelled, settings)
    with labelled.to_fit(pool) as examples:
        clf.fit(examples, progress=phases)
    phases.clear()
    profile = clf.profile_
    if profile is None:
        raise ConfigError(
            f"{', '.join(labelled.sources)}: no example to fit on", hint="add labelled examples"
        )
    profile.save(output)
    if isinstance(profile, Profile):
        print_profile(profile)
    else:
        plain(f"{profile.task} ({profile.kind}) · {len(pool)} labelled examples")
        for line in (*guarantee_lines(profile.found), *notes_of(clf)):
            plain(line)
    set_result({"output": output, "profile": profile.model_dump(mode="json")})
    note(f"wrote {output}: use it with --profile {output}")
    note(phases.text())


def print_profile(profile: Profile) -> None:
    """Print a summary of a profile on standard output."""
    from ecomfs.cli.present import guarantee_lines, plain, show_table

    found = profile.found
    how = f"{found['readings']} answered leave-one-out by the experts, without a model"
    if profile.readout:
        read = ", ".join(sorted(set(profile.readout.values())))
        how = f"{found['readings']} read leave-one-out · k = {profile.k} · {read}"
    plain(f"{profile.task} · {profile.fitted_on.examples} labelled examples, {how}")
    show_table(
        ("after step", "log loss", "accuracy"),
        ((n, f"{loss:.3f}", f"{found['accuracy'][n]:.1%}") for n, loss in found["loss"].items()),
    )
    blend = profile.fusion or profile.cheap
    if blend is not None:
        weights = blend.components[0].weights
        plain("weights: " + ", ".join(f"{name} {weight:.2f}" for name, weight in weights.items()))
        used = [[n for n, w in c.weights.items() if w] for c in blend.components]
        names = [*(" + ".join(sources) for sources in used), "label shares"]
        shares = zip(names, blend.weights, strict=False)
        plain("fusion components: " + ", ".join(f"{name} {share:.0%}" for name, share in shares))
    if (decided := found.get("decided")) is not None:
        plain(
            "rows are not read whose label the model could not change: of the examples, left out, "
            f"{decided} of {profile.fitted_on.examples} (--no-cascade reads every row)"
        )
    for line in (*guarantee_lines(found), *(f"note: {text}" for text in found["notes"])):
        plain(line)
