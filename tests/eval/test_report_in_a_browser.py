"""The report in headless Chromium: nothing overflows on a desktop or a phone, every glyph is shown.

Chromium is used without a driver: the page is put into a frame of the wanted width (a window of
Chromium is never narrower than 500 pixels), a script measures it and tells the outer page, and
``--dump-dom`` prints the result. The report has no script and forbids scripts; the test removes
that policy.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecomfs_eval import Predictions, compare
from ecomfs_eval.compare import compare_arms
from ecomfs_eval.report import ReportLanguage, build_report, render_html
from ecomfs_eval.sequential import SequentialTest, decided_by

from .test_report import HOW, LANGUAGES, full, system

BROWSERS = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
BROWSER = next(filter(None, BROWSERS), None)

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="needs Chromium (apt-get install chromium fonts-noto-cjk)"
)

OUTER = """<!doctype html><meta charset="utf-8"><pre id="measured"></pre>
<script>addEventListener("message", (m) => {
  document.getElementById("measured").textContent = m.data;
});</script>
<iframe src="page.html" style="width:%dpx;height:900px;border:0"></iframe>
"""

INNER = r"""<script>
addEventListener("load", () => {
  document.querySelectorAll("details").forEach((d) => { d.open = true; });
  const wide = [...document.querySelectorAll("body *")].filter((e) =>
    !e.closest("svg") && !(e.closest(".scroll") && !e.matches(".scroll")) &&
    e.getBoundingClientRect().right > innerWidth + 1);
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const draw = (sign) => {
    canvas.clearRect(0, 0, 60, 60);
    canvas.font = "32px " + getComputedStyle(document.body).fontFamily;
    canvas.fillText(sign, 4, 44);
    return canvas.getImageData(0, 0, 60, 60).data.join();
  };
  const box = draw("\u{10FFFE}");
  const glyphs = [...new Set(document.body.innerText.replace(/\s/g, ""))];
  const charts = [...document.querySelectorAll("svg.chart")];
  const cut = charts.flatMap((s) => [...s.querySelectorAll("text")].filter((t) => {
    const a = s.getBoundingClientRect(), b = t.getBoundingClientRect();
    return b.left < a.left - 1 || b.right > a.right + 1 || b.bottom > a.bottom + 1;
  }).map((t) => t.textContent));
  const size = (e) => parseFloat(getComputedStyle(e).fontSize);
  const scrolled = [...document.querySelectorAll(".scroll")].filter(
    (e) => e.scrollWidth > e.clientWidth + 1);
  parent.postMessage(JSON.stringify({
    scrolled: scrolled.map((e) => e.getAttribute("aria-label")),
    width: innerWidth,
    scrolls: document.documentElement.scrollWidth,
    wide: wide.map((e) => e.tagName + " " + e.textContent.slice(0, 40)),
    glyphs: glyphs.length,
    missing: glyphs.filter((g) => draw(g) === box),
    charts: charts.map((s) => s.getBoundingClientRect().width),
    cut,
    smallest: Math.min(...[...document.querySelectorAll("p, td, th, li, summary, pre")].map(size)),
  }), "*");
});
</script></body>"""


def measure(folder: Path, page: str, width: int) -> dict[str, Any]:
    assert BROWSER is not None
    page = page.replace('http-equiv="Content-Security-Policy"', "")
    (folder / "page.html").write_text(page.replace("</body>", INNER), "utf-8")
    (folder / "outer.html").write_text(OUTER % width, "utf-8")
    # Chromium will not start its sandbox as root, as in a container; the page is our own.
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--user-data-dir={folder / 'profile'}",
            "--window-size=1400,1000",
            "--virtual-time-budget=10000",
            "--dump-dom",
            (folder / "outer.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=True,
    )
    found = re.search(r'<pre id="measured">(.+?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    data: dict[str, Any] = json.loads(html.unescape(found[1]))
    return data


@pytest.mark.parametrize("width", [360, 390, 1280])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_nothing_overflows_and_every_glyph_is_there(
    tmp_path: Path, language: ReportLanguage, width: int
) -> None:
    found = measure(tmp_path, render_html(full(language)), width)
    assert found["width"] == width
    assert found["scrolls"] <= width
    assert found["wide"] == []
    assert found["scrolled"] == []
    assert found["cut"] == []
    assert found["missing"] == []
    assert found["glyphs"] > 80
    assert len(found["charts"]) == 6  # the reliability of each of two systems
    assert min(found["charts"]) >= 200
    assert found["smallest"] >= 13


def test_the_measuring_finds_what_is_wrong(tmp_path: Path) -> None:
    page = "<!doctype html><meta charset='utf-8'><body><p style='width:500px'>\U0010fffd</p></body>"
    found = measure(tmp_path, page, 360)
    assert found["scrolls"] > 360
    assert found["missing"] == ["\U0010fffd"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_of_arms_and_running_tests_fit_a_phone(
    tmp_path: Path, language: ReportLanguage
) -> None:
    a, b = system("in use", 0.6, 0), system("短提示 with a long name", 0.9, 1)
    right = [(p.gold_index == p.predicted_index).astype(float) for p in (a, b)]
    watched = decided_by(compare(a, b, how=HOW), SequentialTest().update(right[1] - right[0]))
    other = replace(b, ids=tuple(f"b{i}" for i in range(len(b))))
    for comparison in (watched, compare_arms([a, other], how=HOW)):
        report = build_report([a, other], comparisons=comparison, language=language, how=HOW)
        found = measure(tmp_path, render_html(report), 360)
        assert found["scrolls"] <= 360
        assert found["scrolled"] == []
        assert found["wide"] == []
        assert found["missing"] == []


def many(labels: int, systems: int) -> list[Predictions]:
    names = [f"category with a name {i:02d}" for i in range(labels)]
    rng = np.random.default_rng(0)
    gold = rng.choice(names, size=200).tolist()
    found = []
    for i in range(systems):
        scores = rng.normal(size=(200, labels))
        scores[np.arange(200), [names.index(g) for g in gold]] += 2
        p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        found.append(Predictions.of(gold, None, p, labels=names, name=f"a long name {i}"))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize(("labels", "systems"), [(2, 3), (20, 2), (12, 8)])
def test_no_table_is_cut(tmp_path: Path, labels: int, systems: int, width: int) -> None:
    found = measure(tmp_path, render_html(build_report(many(labels, systems), how=HOW)), width)
    assert found["scrolls"] <= width
    assert found["wide"] == []
    assert found["scrolled"] == []
