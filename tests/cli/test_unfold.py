"""Groups of options: unfolded on the command line, whole in the code."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Annotated, ClassVar

import pytest
import typer
from ecomfs.cli.unfold import unfolded
from typer.testing import CliRunner

from ecomfs.cli import groups as g
from ecomfs.cli import options as o
from ecomfs.errors import ConfigError


@dataclass(frozen=True)
class Paint:
    PANEL: ClassVar[str] = "Paint"

    colour: Annotated[str, typer.Option(help="which colour")]
    coats: Annotated[int, typer.Option(help="how many", rich_help_panel="Work")] = 2


@dataclass(frozen=True)
class Thick(Paint):
    coats: Annotated[int, typer.Option(help="how many of the thick one")] = 5


def app_of(command: object) -> typer.Typer:
    app = typer.Typer(rich_markup_mode="markdown")
    app.command()(command)  # type: ignore[type-var]
    return app


def test_a_group_is_options_outside_and_one_value_inside() -> None:
    seen: list[tuple[object, ...]] = []

    @unfolded
    def fence(paint: Paint, length: Annotated[int, typer.Argument()], posts: int = 3) -> None:
        """Paint a fence."""
        seen.append((paint, length, posts))

    runner = CliRunner()
    assert runner.invoke(app_of(fence), ["7", "--colour", "red"]).exit_code == 0
    assert runner.invoke(app_of(fence), ["7", "--colour", "red", "--coats", "9"]).exit_code == 0
    fence(length=1, colour="blue", posts=4)
    assert seen == [(Paint("red", 2), 7, 3), (Paint("red", 9), 7, 3), (Paint("blue", 2), 1, 4)]
    assert runner.invoke(app_of(fence), ["7"]).exit_code == 2  # a field without default is needed
    with pytest.raises(TypeError, match="width"):
        fence(length=1, colour="blue", width=2)


def test_the_help_has_the_options_under_the_headings_of_their_groups() -> None:
    @unfolded
    def fence(paint: Paint) -> None:
        """Paint a fence."""

    shown = CliRunner().invoke(app_of(fence), ["--help"]).output
    heading, work = shown.index("─ Paint ─"), shown.index("─ Work ─")
    assert heading < shown.index("--colour") < work < shown.index("--coats")
    assert "Paint a fence." in shown


def test_a_group_may_refine_another() -> None:
    seen = []

    @unfolded
    def fence(paint: Thick) -> None:
        seen.append(paint)

    fence(colour="red")
    assert seen == [Thick("red", 5)]
    assert "thick one" in CliRunner().invoke(app_of(fence), ["--help"]).output


def test_the_heading_of_one_group_does_not_stick_to_a_shared_option() -> None:
    @dataclass(frozen=True)
    class Elsewhere:
        PANEL: ClassVar[str] = "Elsewhere"

        engine: o.Engine = "auto"

    globals()["Elsewhere"] = Elsewhere  # where the annotation below is looked up

    @unfolded
    def one(group: Elsewhere) -> None:
        """One."""

    @unfolded
    def other(reading: g.Reading) -> None:
        """Other."""

    runner = CliRunner()
    assert "─ Elsewhere ─" in runner.invoke(app_of(one), ["--help"]).output
    assert "─ Elsewhere ─" not in runner.invoke(app_of(other), ["--help"]).output


def test_groups_travel_to_other_processes() -> None:
    groups = (g.Labelled(task="t", examples="e"), g.Reading(k=2), g.Fitting(), g.Promises(0.9))
    assert pickle.loads(pickle.dumps(groups)) == groups


def test_every_option_of_a_group_is_one_of_the_classifier() -> None:
    labelled = g.MaybeLabelled(task="review_sentiment", seed=7, field=["text=review"])
    clf = g.classifier(
        labelled, g.Reading(k=3, passes=2), g.Fitting(calibrate=5), g.Promises(coverage=0.9), tune=8
    )
    shown = clf.get_params()
    wanted = {
        "k": 3, "passes": 2, "calibration_size": 5, "coverage": 0.9, "tune": 8, "seed": 7,
        "fields": {"text": "review"},
    }  # fmt: skip
    assert {name: shown[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("labelled", "fitting", "message"),
    [
        ({"examples": "p.csv"}, {"profile": "x.json"}, "--max-loss beside --profile x.json"),
        ({}, {}, "--max-loss without --examples"),
        ({"examples": "p.csv"}, {"calibrate": 0}, "--max-loss with --calibration-size 0"),
    ],
)
def test_a_promise_that_nothing_is_fitted_for_is_refused(
    labelled: dict[str, str], fitting: dict[str, object], message: str
) -> None:
    promises = g.Promises(max_loss=0.01)
    with pytest.raises(ConfigError, match=message):
        promises.check(g.MaybeLabelled(task="t", **labelled), g.Fitting(**fitting))  # type: ignore[arg-type]
    g.Promises().check(g.MaybeLabelled(task="t", **labelled), g.Fitting(**fitting))  # type: ignore[arg-type]
