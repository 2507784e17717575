"""Charts: points are at the right positions, and texts are escaped."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import quick

from ecomfs_eval.report.svg import POINTS, Axis, Series, chart, round_ticks, thin

UNIT = Axis("x", 0, 1)


def test_a_drawing_is_xml_with_title_and_description() -> None:
    root = ET.fromstring(chart("a < b", "c & d", UNIT, UNIT, []))
    assert [e.text for e in root[:2]] == ["a < b", "c & d"]


def test_corners_are_in_the_corners() -> None:
    drawing = chart("t", "d", UNIT, UNIT, [Series("s", (0, 1), (0, 1))])
    path = re.search(r'<path d="([^"]+)"', drawing)
    assert path is not None
    assert path[1] == "M52.0 254.0L348.0 12.0"


def test_a_step_goes_across_before_it_goes_up() -> None:
    drawing = chart("t", "d", UNIT, UNIT, [Series("s", (0, 1), (0, 1), "step")])
    assert "M52.0 254.0H348.0V12.0" in drawing


@pytest.mark.parametrize(("value", "where"), [(1, 0), (10, 0.5), (100, 1), (1000, 1)])
def test_logarithmic_axes(value: float, where: float) -> None:
    assert Axis("n", 1, 100, "log").at(value) == pytest.approx(where)


def test_bands_and_error_bars() -> None:
    band = chart("t", "d", UNIT, UNIT, [Series("s", (0, 1), (0.5, 0.5), "line", (0, 0), (1, 1))])
    assert '<polygon points="52.0,12.0 348.0,12.0 348.0,254.0 52.0,254.0"' in band
    bars = chart("t", "d", UNIT, UNIT, [Series("s", (0.5,), (0.5,), "points", (0.0,), (1.0,))])
    assert '<line x1="200.0" y1="254.0" x2="200.0" y2="12.0" class="line bar s0"/>' in bars


@quick
@given(n=st.integers(1, 2000))
def test_thinning_keeps_the_ends(n: int) -> None:
    xs, ys = thin(range(n), range(n))
    assert len(xs) <= POINTS
    assert (xs[0], xs[-1]) == (0, n - 1)
    assert xs == ys == sorted(set(xs))


@quick
@given(low=st.floats(-1e6, 1e6), width=st.floats(1e-3, 1e6))
def test_ticks_are_few_and_inside(low: float, width: float) -> None:
    ticks = round_ticks(low, low + width)
    assert 1 <= len(ticks) <= 8
    assert all(low - 1e-6 * width - 1e-9 <= t <= low + width * (1 + 1e-6) + 1e-9 for t in ticks)
