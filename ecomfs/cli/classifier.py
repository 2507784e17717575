"""From a command line to a fitted classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ecomfs.cli import options as o
from ecomfs.cli.labelled import MaybeLabelled
from ecomfs.core.options import GUARANTEES, NO_MODEL, OPTIONS
from ecomfs.core.progress import LOADING, Phases
from ecomfs.errors import ConfigError

if TYPE_CHECKING:
    from ecomfs.estimators import Classifier, FewShotClassifier
    from ecomfs.pipeline import Pipeline
    from ecomfs.task import TaskCard
    from ecomfs.types import Example


def check_guarantees(settings: o.Settings, labelled: MaybeLabelled) -> None:
    """Refuse a guarantee that cannot be fitted.

    Raises:
        ConfigError: a guarantee without examples, without leave-one-out readings, beside a
            profile, or without the experts that it needs.
    """
    if not settings.guarantees:
        return
    first = settings.guarantees[0]
    if settings["profile"] is not None:
        raise ConfigError(
            f"{first} beside --profile {settings['profile']}, which has its own guarantees",
            hint=f"leave out --profile, or make a new one: ecomfs fit … {first}",
        )
    if not labelled.sources:
        raise ConfigError(
            f"{first} without --examples: a guarantee is fitted on labelled examples",
            hint="name the examples",
        )
    if settings["calibration_size"] < 1:
        raise ConfigError(
            f"{first} with --calibration-size 0: a guarantee is fitted on leave-one-out readings",
            hint="use --calibration-size 48 or more",
        )
    if settings["max_loss"] is not None and not settings["fusion"]:
        raise ConfigError("--max-loss with --no-fusion", hint="leave one of them out")


def without_fit(settings: o.Settings) -> o.Settings:
    """The settings of a plan: nothing is read leave-one-out, and nothing is guaranteed."""
    kept = {name: value for name, value in settings.items() if OPTIONS[name].group != GUARANTEES}
    return o.Settings({**kept, "calibration_size": 0})


def one_label_only(card: TaskCard) -> None:
    """Refuse a task that the command cannot be used for.

    Raises:
        ConfigError: its rows have several labels.
    """
    if card.several_labels:
        raise ConfigError(
            f"task {card.name!r} has several labels a row, and this command takes one",
            hint="use score, plan, explain, fit, serve, ab or eval score",
        )


def classifier(labelled: MaybeLabelled, settings: o.Settings, **more: Any) -> FewShotClassifier:
    """The classifier that a command line describes, not yet fitted.

    Args:
        more: options that are not in ``settings``, or other values than theirs.
    """
    from ecomfs.estimators import FewShotClassifier
    from ecomfs.task import load_task

    one_label_only(load_task(labelled.task))
    given = {"seed": labelled.seed, "fields": labelled.fields, **settings, **more}
    return FewShotClassifier(labelled.task, **given)


def classifier_of_task(labelled: MaybeLabelled, settings: o.Settings) -> Classifier:
    """The classifier that the task's card asks for: of one label a row, of a hierarchy, or of
    several labels a row.

    Raises:
        ConfigError: no examples, or an option that this classifier does not have.
    """
    from ecomfs.estimators import classifier_of
    from ecomfs.task import load_task

    card = load_task(labelled.task)
    if not labelled.sources and (card.several_labels or card.hierarchy is not None):
        raise ConfigError(
            f"task {card.name!r} needs labelled examples", hint="name them with --examples"
        )
    return classifier_of(
        labelled.task, **{"seed": labelled.seed, "fields": labelled.fields, **settings}
    )


def fitted(
    labelled: MaybeLabelled,
    settings: o.Settings,
    pool: list[Example] | None = None,
    phases: Phases | None = None,
) -> Pipeline:
    """The pipeline of :func:`fitted_classifier`, for a command that knows one label a row only.

    Raises:
        ConfigError: the task has several labels a row, or a hierarchy.
    """
    from ecomfs.estimators import FewShotClassifier

    clf = fitted_classifier(labelled, settings, pool, phases)
    if not isinstance(clf, FewShotClassifier):
        raise ConfigError(
            f"task {labelled.task!r} has several labels a row, or a hierarchy, and this command "
            "takes neither",
            hint="leave out --runner ray",
        )
    return clf.pipeline_


def fitted_classifier(
    labelled: MaybeLabelled,
    settings: o.Settings,
    pool: list[Example] | None = None,
    phases: Phases | None = None,
) -> Classifier:
    """Load the model, fit the classifier, and print what the fit found.

    Args:
        pool: the examples, when they are read already.
        phases: show the progress; ``None``: no progress is shown.

    Raises:
        EcomfsError: wrong options or examples; the engine cannot be opened.
    """
    check_guarantees(settings, labelled)
    if pool is None:
        _, pool = labelled.load()
    phases = phases or Phases()
    if settings["engine"] != NO_MODEL:
        phases(LOADING)
    clf = classifier_of_task(labelled, settings)
    with labelled.to_fit(pool) as examples:
        clf.fit(examples, progress=phases)
    phases.clear()
    print_notes(clf, settings)
    return clf


def print_notes(fitted: Classifier, settings: o.Settings) -> None:
    """Print which guarantees hold and which do not, and what else the fit found: labels that the
    examples make unlikely, a model that adds nothing to the experts."""
    from ecomfs.cli.present import guarantee_lines, note, notes_of

    if settings.guarantees and fitted.profile_ is not None:
        for line in guarantee_lines(fitted.profile_.found):
            note(line)
    for line in notes_of(fitted):
        note(line)
