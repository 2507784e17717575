"""The pages in headless Chromium, with the real embedded model: a label is changed with the
keyboard, and the prediction changes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import serving

selenium = pytest.importorskip("selenium")

from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

from ecomfs.batch import read_examples  # noqa: E402
from ecomfs.estimators import FewShotClassifier  # noqa: E402
from ecomfs.pool import Pool  # noqa: E402
from ecomfs.serve import create_app  # noqa: E402
from ecomfs.task import load_task  # noqa: E402

ROOT = Path(__file__).parents[2]
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
AXE = Path(os.environ.get("ECOMFS_AXE", ROOT / "node_modules/axe-core/axe.min.js"))
PAGES = ["/", "/try", "/review", "/examples", "/runs", "/ab", "/docs", "/login"]
ROW = "Not bad for the price, though the strap feels cheap"
ALIKE = "Good for the price, though the strap feels rather cheap"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.model,
    pytest.mark.skipif(
        BROWSER is None or DRIVER is None, reason="needs chromium and chromium-driver"
    ),
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    card = load_task("review_sentiment")
    rows = read_examples(ROOT / "samples/review_sentiment/pool.csv", card)
    with Pool.open(tmp_path_factory.mktemp("pool") / "pool.db") as pool:
        pool.add(rows)
        clf = FewShotClassifier("review_sentiment", "gguf:demo", k=4, calibration_size=16)
        with serving(create_app(clf.fit(pool))) as url:
            yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--lang=en"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def size(browser: webdriver.Chrome, width: int, height: int = 900) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def found(browser: webdriver.Chrome, css: str, seconds: float = 60) -> Any:
    WebDriverWait(browser, seconds).until(lambda d: d.find_elements(By.CSS_SELECTOR, css))
    busy = "return document.querySelector('.htmx-request, .htmx-swapping, .htmx-settling') === null"
    WebDriverWait(browser, seconds).until(lambda d: d.execute_script(busy))
    return browser.find_element(By.CSS_SELECTOR, css)


def shot(browser: webdriver.Chrome, name: str) -> None:
    """Kept where ``ECOMFS_SCREENSHOTS`` names a folder: those in docs/ are made so."""
    if folder := os.environ.get("ECOMFS_SCREENSHOTS"):
        browser.save_screenshot(str(Path(folder) / f"{name}.png"))


def try_and_send(browser: webdriver.Chrome, url: str, text: str) -> None:
    browser.get(f"{url}/try?lang=en")
    found(browser, "#row-1").send_keys(text)
    found(browser, "#classify").click()
    assert found(browser, "#answer-label").text in ("positive", "negative")
    found(browser, "#send-to-review").click()
    assert "waits for review" in found(browser, "#queued-note").text


def press(browser: webdriver.Chrome, key: str, wait_for: str) -> None:
    ActionChains(browser).send_keys(key).perform()
    found(browser, wait_for)


def predictions(browser: webdriver.Chrome) -> dict[str, tuple[str, str]]:
    """Text of a row → its prediction before and now, as the page shows them."""
    out = {}
    for row in browser.find_elements(By.CSS_SELECTOR, "#again tbody tr"):
        cells = [cell.text for cell in row.find_elements(By.CSS_SELECTOR, "td")]
        out[cells[0]] = (cells[2], cells[3].removesuffix(" changed"))
    return out


def test_a_label_by_the_keyboard_changes_the_prediction_of_its_neighbour(
    browser: webdriver.Chrome, url: str
) -> None:
    size(browser, 1200)
    try_and_send(browser, url, ALIKE)
    shot(browser, "try-en")
    try_and_send(browser, url, ROW)
    browser.get(f"{url}/review")
    card = found(browser, "#card")
    first = ROW if ROW in card.text else ALIKE
    other = ALIKE if first == ROW else ROW
    review = card.get_attribute("data-review")
    suggested = card.find_element(By.CSS_SELECTOR, "button.main").get_attribute("value")
    wanted = {"positive": ("2", "negative"), "negative": ("1", "positive")}[suggested]
    press(browser, wanted[0], f'#last[data-review="{review}"]')
    assert f"Labelled {wanted[1]}" in found(browser, "#last").text
    shown = predictions(browser)
    before, now = shown[other]
    assert before != now
    assert shown[first][1].startswith(wanted[1])  # its own example stands in its prompt now
    shot(browser, "review-en")
    assert browser.switch_to.active_element.get_attribute("id") == "card"  # keys go on working
    press(browser, "u", f'#card[data-review="{review}"], #last:not(:has(#again button))')
    WebDriverWait(browser, 60).until(
        lambda d: "Undone" in d.find_element(By.CSS_SELECTOR, "#last").text
    )
    assert predictions(browser)[other] == (now, before)  # undo restores
    log = found(browser, "#done").text
    assert "undo" in log
    press(browser, "s", "#last")
    WebDriverWait(browser, 60).until(
        lambda d: "Skipped" in d.find_element(By.CSS_SELECTOR, "#last").text
    )


def test_a_table_is_uploaded_watched_and_downloaded(
    browser: webdriver.Chrome, url: str, tmp_path: Path
) -> None:
    size(browser, 1200)
    file = tmp_path / "reviews.csv"
    file.write_text("id,text\n" + "".join(f'r{i},"{ROW} {i}"\n' for i in range(6)))
    browser.get(f"{url}/runs?lang=en")
    found(browser, "#file").send_keys(str(file))
    found(browser, "#upload button").click()
    found(browser, '#run-rows tr[data-state="waiting"], #run-rows tr[data-state="running"]')
    row = found(browser, '#run-rows tr[data-state="done"]', 120)
    assert "ok 6" in row.text
    shot(browser, "runs-en")
    folder = {"behavior": "allow", "downloadPath": str(tmp_path)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", folder)
    row.find_element(By.CSS_SELECTOR, "a[download]").click()
    scored = tmp_path / "reviews.scored.csv"
    WebDriverWait(browser, 30).until(lambda _: scored.is_file())
    assert scored.read_text("utf-8").count("\n") == 7
    wrong = tmp_path / "prices.csv"
    wrong.write_text("price\n1\n")
    found(browser, "#file").send_keys(str(wrong))
    found(browser, "#upload button").click()
    WebDriverWait(browser, 30).until(
        lambda d: "no column" in d.find_element(By.ID, "upload-note").text
    )
    browser.get_log("browser")  # the refusal is an error to it: what comes next begins empty


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_page_is_wider_than_the_window(
    browser: webdriver.Chrome, url: str, width: int, language: str
) -> None:
    size(browser, width)
    for path in PAGES:
        browser.get(f"{url}{path}?lang={language}")
        found(browser, "main")
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= width, path
        errors = [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"]
        assert errors == [], path  # the page's own policy forbids nothing that it needs
        if path in ("/review", "/examples"):
            shot(browser, f"{path[1:]}-{language}-{'phone' if width < 600 else 'desktop'}")


@pytest.mark.skipif(not AXE.is_file(), reason="npm install --no-save axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: webdriver.Chrome, url: str, scheme: str) -> None:
    size(browser, 1280)
    feature = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": feature})
    browser.get(f"{url}/try?lang=en")
    found(browser, "#row-1").send_keys(ROW)
    found(browser, "#classify").click()
    found(browser, "#answer-label")
    problems = {"/try, answered": serious(browser)}
    for path in PAGES:
        for language in ("en", "zh"):
            browser.get(f"{url}{path}?lang={language}")
            found(browser, "main")
            problems[f"{path} {language}"] = serious(browser)
    assert {where: told for where, told in problems.items() if told} == {}


def serious(browser: webdriver.Chrome) -> list[str]:
    """What axe finds serious or critical on the page as it is now."""
    # Through the protocol: the page's policy forbids scripts that it does not serve.
    browser.execute_cdp_cmd("Runtime.evaluate", {"expression": AXE.read_text("utf-8")})
    done = browser.execute_cdp_cmd(
        "Runtime.evaluate",
        {
            "expression": "axe.run().then((r) => JSON.stringify(r.violations))",
            "awaitPromise": True,
            "returnByValue": True,
        },
    )
    return [
        f"{v['id']}: {v['nodes'][0]['html'][:120]} {v['nodes'][0]['failureSummary'][:200]}"
        for v in json.loads(done["result"]["value"])
        if v["impact"] in ("serious", "critical")
    ]
