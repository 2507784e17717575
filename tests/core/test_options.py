"""The table of options, and everything derived from it."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.core.options import (
    OPTIONS,
    PROMPT_OPTIONS,
    READING,
    SHARED,
    Option,
    known_option,
    options_of,
)
from ecomfs.errors import ConfigError
from ecomfs.estimators import FewShotClassifier, MultiLabelClassifier, TaxonomyClassifier
from ecomfs.features import Rendering
from ecomfs.pipeline import Options
from ecomfs.readout import StepName
from ecomfs.retrieve import Layout
from ecomfs.retrieve.strategies import STRATEGIES
from ecomfs.screen import MaskChoice

ROOT = Path(__file__).parents[2]
CLASSIFIERS = (FewShotClassifier, MultiLabelClassifier, TaxonomyClassifier)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_constructors_take_the_options_with_their_defaults(kind: type) -> None:
    signature = inspect.signature(kind).parameters
    assert [*signature][:2] == ["task", "engine"]
    assert {*signature} - {"task"} == {option.name for option in options_of(kind)}
    for option in options_of(kind):
        assert signature[option.name].default == option.default, option.name
        assert option._fits(option.default), option.name


def test_options_are_read_from_the_types_of_their_fields() -> None:
    found = {
        name: (OPTIONS[name].kind, OPTIONS[name].choices, OPTIONS[name].nullable)
        for name in ("engine", "embedder", "language", "passes", "precision", "fields", "template")
    }
    assert found == {
        "engine": (str, (), True),
        "embedder": (str, (), False),
        "language": (str, ("auto", "en", "zh"), True),
        "passes": (int, (), False),
        "precision": (float, (), True),
        "fields": (dict, (), True),
        "template": (str, (), True),
    }


def test_choices_are_those_of_the_rooms_that_use_them() -> None:
    rooms = {"rendering": Rendering, "mask": MaskChoice}
    rooms |= {"layout": Literal["auto", Layout], "readout": Literal["auto", StepName]}
    for name, choices in rooms.items():
        assert OPTIONS[name].choices == get_args(choices)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_docstrings_have_every_parameter_with_its_default(kind: type) -> None:
    doc = inspect.getdoc(kind) or ""
    assert "{options}" not in doc
    entries = doc.partition("Parameters\n----------\n")[2].partition("\n\nAttributes\n")[0]
    named = [line.partition(" : ")[0] for line in entries.splitlines() if " : " in line[:30]]
    assert named == ["task", *(option.name for option in options_of(kind))]
    for option in options_of(kind):
        if option.default is not None:
            assert f"{option.name} : {option.kind.__name__}, default {option.default!r}" in entries
    assert "Examples\n--------" in doc


def test_the_options_of_a_pipeline_are_in_the_table() -> None:
    for name, field in Options.__dataclass_fields__.items():
        assert field.default == OPTIONS[name].default


def test_every_selection_strategy_is_a_choice() -> None:
    assert {*OPTIONS["strategy"].choices} == {*STRATEGIES}


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_every_value_out_of_range_is_refused_before_a_model_is_loaded(classifier: type) -> None:
    for option in options_of(classifier):
        wrong = {str: 3, int: -1, float: 1.0, bool: "yes", dict: 3}[option.kind]
        if option.least is None and option.kind is int:
            continue
        clf = classifier(**{"engine": "no such engine", option.name: wrong})
        with pytest.raises(ConfigError) as caught:
            clf.fit(["a", "b"], ["x", "y"])
        assert str(caught.value) == f"{option.name} = {wrong!r} ({option.name} is {option.allowed})"


@given(st.sampled_from([o for o in OPTIONS.values() if o.kind in (int, float, bool)]), st.data())
def test_a_word_is_read_as_its_value(option: Option, data: st.DataObject) -> None:
    values: dict[type, st.SearchStrategy[Any]] = {
        int: st.integers(option.least or 0, option.most or 10**9),
        float: st.floats(0, 1, exclude_min=True, exclude_max=True).filter(lambda x: x > 1e-4),
        bool: st.booleans(),
    }
    value = data.draw(values[option.kind])
    for written in (value, str(value)):
        read = option.read(written, "B")
        assert read == value
        assert type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("k", np.int64(4)), ("precision", np.float32(0.5)), ("fusion", np.bool_(False)), ("k", None)],
)
def test_numpy_scalars_are_values(name: str, value: Any) -> None:
    OPTIONS[name].check(value)


@pytest.mark.parametrize("name", ["kk", "calibrate", "Fusion", "task", *SHARED, "beam"])
def test_an_unknown_key_names_the_closest_and_all(name: str) -> None:
    with pytest.raises(ConfigError, match=f"B: no option '{name}'") as caught:
        known_option(name, "B")
    assert "calibration_size" in str(caught.value)


def test_the_reference_page_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "eval" / "bench" / "options_page.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_no_help_text_is_written_twice() -> None:
    texts: Counter[str] = Counter(option.help for option in OPTIONS.values())
    for path in (ROOT / "ecomfs" / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "help":
                with_text = isinstance(node.value, ast.Constant)
                texts[node.value.value if with_text else ""] += 1  # type: ignore[attr-defined]
    del texts[""]
    assert [text for text, times in texts.items() if times > 1] == []


def test_every_option_of_reading_is_known_to_count_without_a_model_or_not() -> None:
    reading = {option.name for option in options_of(groups=[READING])}
    assert reading - {*PROMPT_OPTIONS} == {
        *("engine", "embedder", "similarity", "rendering", "suspicious", "mask")
    }
