"""Options of the command line: groups of them, and the settings of the classifier."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pytest
import typer
from typer.testing import CliRunner

from ecomfs.cli import options as o
from ecomfs.cli.classifier import OptionalExamples, RequiredExamples, check_guarantees, classifier
from ecomfs.core.options import OPTIONS, READING, options_of
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

    @o.flatten_options
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
    @o.flatten_options
    def fence(paint: Paint) -> None:
        """Paint a fence."""

    shown = CliRunner().invoke(app_of(fence), ["--help"]).output
    heading, work = shown.index("─ Paint ─"), shown.index("─ Work ─")
    assert heading < shown.index("--colour") < work < shown.index("--coats")
    assert "Paint a fence." in shown


def test_a_group_may_refine_another() -> None:
    seen = []

    @o.flatten_options
    def fence(paint: Thick) -> None:
        seen.append(paint)

    fence(colour="red")
    assert seen == [Thick("red", 5)]
    assert "thick one" in CliRunner().invoke(app_of(fence), ["--help"]).output


def test_the_heading_of_one_group_does_not_stick_to_a_shared_option() -> None:
    @dataclass(frozen=True)
    class Elsewhere:
        PANEL: ClassVar[str] = "Elsewhere"

        limit: o.Limit = None

    @dataclass(frozen=True)
    class Here:
        PANEL: ClassVar[str] = "Here"

        limit: o.Limit = None

    globals().update(Elsewhere=Elsewhere, Here=Here)  # where annotations are looked up

    @o.flatten_options
    def one(group: Elsewhere) -> None:
        """One."""

    @o.flatten_options
    def other(group: Here) -> None:
        """Other."""

    runner = CliRunner()
    assert "─ Elsewhere ─" in runner.invoke(app_of(one), ["--help"]).output
    assert "─ Elsewhere ─" not in runner.invoke(app_of(other), ["--help"]).output


def test_groups_travel_to_other_processes() -> None:
    groups = (RequiredExamples(task="t", examples=["e"]), o.Settings(k=2))
    assert pickle.loads(pickle.dumps(groups)) == groups


def test_a_verb_takes_some_options_of_the_table_with_its_own_defaults() -> None:
    seen: list[o.Settings] = []

    @o.flatten_options
    def verb(settings: Own, other: int = 1) -> None:
        """Verb."""
        seen.append(settings)

    runner = CliRunner()
    assert runner.invoke(app_of(verb), ["--passes", "3", "--no-fusion"]).exit_code == 2
    assert runner.invoke(app_of(verb), ["--passes", "3"]).exit_code == 0
    names = [option.name for option in options_of(groups=[READING])]
    assert list(seen[0]) == [name for name in names if name != "template"]
    assert (seen[0]["passes"], seen[0]["k"], seen[0]["fusion"]) == (3, 7, True)
    shown = runner.invoke(app_of(verb), ["--help"]).output
    assert f"─ {READING} ─" in shown
    assert "--template" not in shown


Own = Annotated[o.Settings, o.Group((READING,), ("template",), (("k", 7),))]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name, values in {
            "k": (-1, 1.5, True, "4"),
            "passes": (0, 33),
            "calibration_size": (-1,),
            "budget": (0,),
            "shortlist": (-1,),
            "readout": ("letters", ""),
            "strategy": ("top-k",),
            "precision": (0, 1, 1.5, float("nan"), True),
            "fusion": (1, None),
            "engine": ("", 3),
        }.items()
        for value in values
    ],
)
def test_a_value_out_of_range_is_one_line_that_names_the_option(name: str, value: object) -> None:
    option = OPTIONS[name]
    with pytest.raises(ConfigError, match=r"= .* \(--.* is (a|one|text|yes)") as caught:
        o.Group((option.group,))(**{name: value})
    assert str(caught.value).startswith(f"{option.cli} = ")


def test_every_setting_is_an_option_of_the_classifier() -> None:
    labelled = OptionalExamples(task="review_sentiment", seed=7, field=["text=review"])
    settings = o.Settings(k=3, passes=2, calibration_size=5, coverage=0.9, tune=8)
    shown = classifier(labelled, settings).get_params()
    wanted = {
        "k": 3,
        "passes": 2,
        "calibration_size": 5,
        "coverage": 0.9,
        "tune": 8,
        "seed": 7,
        "fields": {"text": "review"},
    }
    assert {name: shown[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("labelled", "settings", "message"),
    [
        (
            {"examples": ["p.csv"]},
            {"profile": "x.json"},
            "--max-loss together with --profile x.json",
        ),
        ({}, {}, "--max-loss without --examples"),
        ({"examples": ["p.csv"]}, {"calibration_size": 0}, "--max-loss with --calibration-size 0"),
        ({"examples": ["p.csv"]}, {"fusion": False}, "--max-loss with --no-fusion"),
    ],
)
def test_a_guarantee_that_cannot_be_fitted_is_refused(
    labelled: dict[str, Any], settings: dict[str, object], message: str
) -> None:
    given = OptionalExamples(task="t", **labelled)
    with pytest.raises(ConfigError, match=message):
        check_guarantees(o.Settings(max_loss=0.01, **settings), given)
    check_guarantees(o.Settings(**settings), given)
