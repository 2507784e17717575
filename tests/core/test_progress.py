"""Progress: which callbacks get it, where it is displayed, and the total time."""

from __future__ import annotations

import re
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import ScriptedEngine, examples

from ecomfs.core.progress import (
    Lines,
    Notebook,
    Phases,
    Terminal,
    part,
    showing,
    silent,
    within,
)
from ecomfs.estimators import FewShotClassifier

Told = list[tuple[str, int, int | None]]


def listening(told: Told) -> Any:
    def report(phase: str, done: int = 0, total: int | None = None, detail: str = "") -> None:
        told.append((phase, done, total))

    return report


def fitted(progress: Any = None, size: int = 8) -> FewShotClassifier:
    clf = FewShotClassifier(
        "review_sentiment",
        ScriptedEngine(),
        k=2,
        embedder="hashed",
        language="en",
        calibration_size=size,
    )
    return clf.fit(*examples(), progress=progress)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that looks like the kernel of a notebook."""
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1e4)), max_size=20))
def test_total_is_the_wall_time_from_the_start_whatever_the_phases(
    steps: list[tuple[str, float]],
) -> None:
    now = [100.0]
    phases = Phases(started=90.0, clock=lambda: now[0])
    for name, took in steps:
        phases(name)
        now[0] += took
    assert phases.finish() == phases.total == now[0] - 90.0
    assert sum(phases.seconds.values()) == pytest.approx(now[0] - 100.0)
    assert phases.text().startswith(f"{now[0] - 90.0:.1f} s in all")


def test_every_phase_is_reported_before_its_work() -> None:
    told: Told = []
    clf = fitted(listening(told))
    assert list(dict.fromkeys(phase for phase, _, _ in told)) == [
        "loading the model",
        "embedding",
        "fitting",
    ]
    assert ("embedding", 0, 12) in told
    assert [t for t in told if t[0] == "fitting"] == [
        ("fitting", 0, 8),
        ("fitting", 4, 8),
        ("fitting", 8, 8),
    ]
    told.clear()
    rows = [f"row {i}" for i in range(20)]
    found = clf.classify(rows, progress=listening(told))
    assert told == [("reading", 0, 20), ("reading", 16, 20), ("reading", 20, 20)]
    assert found == clf.classify(rows)  # reading some at a time changes no answer


def test_a_model_that_cannot_be_loaded_was_announced() -> None:
    told: Told = []
    clf = FewShotClassifier("review_sentiment", "gguf:/no/such/model.gguf", embedder="hashed")
    with pytest.raises(Exception, match="no/such/model"):
        clf.fit(*examples(), progress=listening(told))
    assert told == [("loading the model", 0, None)]


def test_scripts_are_silent(capsys: pytest.CaptureFixture[str]) -> None:
    clf = fitted()
    clf.classify(["row"])
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


@pytest.mark.usefixtures("notebook")
def test_notebooks_show_bars(capsys: pytest.CaptureFixture[str]) -> None:
    clf = fitted()
    fit = capsys.readouterr().err
    assert "loading the model" in fit
    assert "fitting" in fit
    clf.classify(["row"])
    assert "reading" in capsys.readouterr().err
    fitted(progress=False).classify(["row"], progress=False)
    assert capsys.readouterr().err == ""


def test_a_bar_of_a_notebook_counts_to_its_total(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Notebook()
    bar("reading")
    bar("reading", 3, 8, "2.0 rows/s")
    bar("reading", 8, 8)
    bar.clear()
    said = capsys.readouterr().err
    assert "3/8" in said
    assert "2.0 rows/s" in said
    assert "8/8" in said


def test_on_request_scripts_show_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    fitted(progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["loading the model", "embedding: 0 of 12"]
    assert "fitting: 0 of 8" in lines


def test_plain_lines_name_each_phase_at_once_and_are_then_rare() -> None:
    now, lines = [0.0], []
    show = Lines(lines.append, clock=lambda: now[0])
    for done in range(100):
        show("fitting", done, 100)
        now[0] += 0.5
    show("reading")
    assert lines[0] == "fitting: 0 of 100"
    assert lines[-1] == "reading"
    assert len(lines) == 6


def test_parts_count_on_and_names_are_put_before() -> None:
    told: Told = []
    part(listening(told), "reading", 64, 100)("reading", 16, 36)
    within(listening(told), "v2")("fitting", 1, 2)
    assert told == [("reading", 80, 100), ("v2: fitting", 1, 2)]
    assert part(silent, "reading", 0, 1) is silent
    with showing(False) as report:
        assert report is silent


@pytest.mark.parametrize("plain", [False, True])
def test_no_colour_where_it_is_not_wanted(
    plain: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if plain:
        monkeypatch.setenv("NO_COLOR", "1")
    bar = Terminal()
    bar("reading", 3, 9)
    bar.clear()
    shown = capsys.readouterr().err
    assert "3 of 9" in shown
    coloured = re.search(r"\x1b\[[0-9;]*3[0-8]", shown)
    assert (coloured is None) == plain
