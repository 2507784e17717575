from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scripted import ScriptedEngine

from ecomfs.ab.run import hidden_differences
from ecomfs.cli.ab import ab
from ecomfs.cli.json_result import json_run
from ecomfs.core.json import plain
from ecomfs.engine.cached import CachedEngine, ReadingCache
from ecomfs.errors import (
    ColumnError,
    ConfigError,
    DuplicateIdError,
    EmptyInputError,
    MissingFileError,
    OutputError,
    TaskError,
    TemplateError,
    UnknownLabelError,
)
from ecomfs_eval import Predictions

SAMPLES = Path(__file__).parents[2] / "samples"
SHORT = """{{ instruction }}
{% for demonstration in demonstrations %}
Customer: {{ demonstration.row.text }}
Overall: {{ demonstration.answer }}

{% endfor %}
Customer: {{ row.text }}
Overall:
"""


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    rows = [f"p{i},it {'broke' if i % 2 else 'works'} {i},{i % 2}" for i in range(12)]
    path = tmp_path / "pool.csv"
    path.write_text("\n".join(["id,text,label", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [f"t{i},thing number {i},{'pos' if i % 3 else 'neg'}" for i in range(60)]
    path = tmp_path / "test.csv"
    path.write_text("\n".join(["id,text,label", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def short(tmp_path: Path) -> str:
    path = tmp_path / "short.jinja"
    path.write_text(SHORT, encoding="utf-8")
    return str(path)


def run(templates: list[str], pool: Path, data: Path, **options: Any) -> dict[str, Any]:
    """``ecomfs ab`` on a scripted engine; gives the whole comparison."""
    options = {
        "engine": ScriptedEngine(),
        "embedder": "hashed",
        "k": 2,
        **options,
    }
    with json_run(["--json"]) as outcome:
        ab(templates=templates, task="review_sentiment", examples=pool, data=data, **options)
    return dict(plain(outcome.result))


# -- what it says ------------------------------------------------------------------------------


def test_two_templates_on_the_same_rows(
    short: str, pool: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = run(["v1", short], pool, data)
    shown = capsys.readouterr().out
    assert told["rows"] == 60
    assert [s["name"] for s in told["systems"]] == ["v1", "short"]
    assert [s["source"] for s in told["systems"]] == ["v1", short]
    [comparison] = told["comparisons"]
    table = comparison["mcnemar"]
    assert sum(table[k] for k in ("both", "only_a", "only_b", "neither")) == 60
    right = [round(s["scores"]["accuracy"]["value"] * 60) for s in told["systems"]]
    assert right == [table["both"] + table["only_a"], table["both"] + table["only_b"]]
    for system in told["systems"]:
        for metric in ("accuracy", "f1_macro"):
            interval = system["scores"][metric]["interval"]
            assert interval["low"] <= system["scores"][metric]["value"] <= interval["high"]
    assert {d["metric"] for d in comparison["differences"]} >= {"accuracy", "f1_macro"}
    assert comparison["p_value"] == table["p_value"]
    assert told["decision"] == comparison["decision"]["text"]
    assert " ".join(told["decision"].split()) in " ".join(shown.split())
    assert "McNemar" in shown
    assert "60 rows" in shown


def test_flipped_rows_are_shown_with_both_answers(
    short: str, pool: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = run(["v1", short], pool, data, show=3)
    shown = capsys.readouterr().out
    flips = told["comparisons"][0]["flips"]
    assert len(flips) > 3
    assert all(f["a"] != f["b"] for f in flips)
    assert all(f["extra_a"]["text"] == f"thing number {f['id'][1:]}" for f in flips)
    assert {f["gold"] for f in flips} <= {"0", "1"}  # the pool's spelling
    assert [f["id"] for f in flips[:3]] == re.findall(r"│ (t\d+)", shown)
    assert f"the predictions of {len(flips)} rows changed" in shown
    assert "--show" in shown


def test_long_texts_are_shortened_and_markup_is_text(
    short: str, pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "long.csv"
    rows = [f"[red]x{i}[/] {'word ' * 40},pos" for i in range(20)]
    data.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    told = run(["v1", short], pool, data, calibration_size=0)
    shown = capsys.readouterr().out
    assert told["comparisons"][0]["flips"]
    assert "[red]x" in shown
    assert "…" in shown


def test_variants_that_are_the_same_are_refused(
    short: str, pool: Path, data: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.jinja"
    copy.write_text(SHORT, encoding="utf-8")
    engine = ScriptedEngine()
    for templates, variant in (
        (["v1", "v1"], None),
        ([short, str(copy)], None),
        (["v1"], ["same: k=2 template=v1"]),
    ):
        with pytest.raises(ConfigError, match=r"variants '\w+' and '\w+' are the same"):
            run(templates, pool, data, variant=variant, engine=engine)
    assert engine.calls == []


def test_three_templates_are_corrected_by_holm(
    short: str, pool: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    third = tmp_path / "third.jinja"
    third.write_text(SHORT.replace("Customer", "Buyer"), encoding="utf-8")
    told = run(["v1", short, str(third)], pool, data)
    raw = sorted(c["mcnemar"]["p_value"] for c in told["comparisons"])
    adjusted = sorted(c["p_value"] for c in told["comparisons"])
    assert adjusted[0] == pytest.approx(min(1.0, 2 * raw[0]))
    shown = capsys.readouterr().out
    assert "Holm" in shown
    assert "short − v1" in shown
    assert "third − v1" in shown


def test_the_same_seed_gives_the_same_report(short: str, pool: Path, data: Path) -> None:
    first = run(["v1", short], pool, data, shots=8, seed=3)
    assert first["examples"] == 8
    assert run(["v1", short], pool, data, shots=8, seed=3) == first


def test_label_columns_may_differ_between_pool_and_data(short: str, pool: Path, data: Path) -> None:
    data.write_text(data.read_text("utf-8").replace("id,text,label", "id,text,truth"), "utf-8")
    told = run(["v1", short], pool, data, label_column="truth", pool_label_column="label", limit=20)
    assert told["rows"] == 20


def test_only_the_rows_language_changes_with_a_template_of_one_language(
    pool: Path, tmp_path: Path
) -> None:
    (tmp_path / "en.v2.jinja").write_text(SHORT, encoding="utf-8")
    data = tmp_path / "both.csv"
    rows = [f"e{i},thing number {i},pos\nz{i},这是第{i}件商品,neg" for i in range(20)]
    data.write_text("\n".join(["id,text,label", *rows]), encoding="utf-8")
    told = run(["v1", str(tmp_path / "en.v2.jinja")], pool, data)
    a, b = (s["templates"] for s in told["systems"])
    assert a["zh"] == b["zh"]
    assert a["en"] != b["en"] == f"en.v2.jinja@{b['en'][-12:]}"
    [comparison] = told["comparisons"]
    assert comparison["flips"]
    assert all(f["id"].startswith("e") for f in comparison["flips"])
    assert {s["value"]: s["n"] for s in comparison["slices"]["language"]} == {"en": 20, "zh": 20}


def test_rows_that_fail_keep_their_pair_out(
    short: str, pool: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = ScriptedEngine(fails_on="Customer: thing number 7\nOverall")
    told = run(["v1", short], pool, data, engine=engine)
    assert told["rows"] == 60
    assert [s["rows"] for s in told["systems"]] == [59, 59]
    table = told["comparisons"][0]["mcnemar"]
    assert sum(table[k] for k in ("both", "only_a", "only_b", "neither")) == 59
    words = (
        "1 of 60 rows left out of the comparison, because a variant failed on them (v1 0, short 1)"
    )
    assert told["kept_out"] == words
    assert words in " ".join(capsys.readouterr().out.split())
    # Or they count as wrong, where the user wants it so.
    wrong = run(["v1", short], pool, data, engine=engine, failed_as_wrong=True)
    assert [s["rows"] for s in wrong["systems"]] == [60, 60]
    assert "t7" in {f["id"] for f in wrong["comparisons"][0]["flips"] if f["b"] == "[failed]"}


def test_a_variant_that_fails_on_every_row_leaves_nothing_to_compare(
    short: str, pool: Path, data: Path
) -> None:
    engine = ScriptedEngine(fails_on="Customer: thing")
    message = r"60 of 60 rows.*v1 0, short 60.*no answer for this prompt"
    with pytest.raises(EmptyInputError, match=message):
        run(["v1", short], pool, data, engine=engine)


# -- variants beyond templates, watching, reports ----------------------------------------------


def test_any_option_can_be_compared(pool: Path, data: Path, tmp_path: Path) -> None:
    spec = tmp_path / "variants.yaml"
    spec.write_text(
        "many: {k: 6}\ncodes: {readout: codes, calibration_size: 0}\n", encoding="utf-8"
    )
    told = run(["v1"], pool, data, variant=[str(spec), "fewer: k=1 strategy=top_k"])
    assert [s["name"] for s in told["systems"]] == ["v1", "many", "codes", "fewer"]
    assert [s["k"] for s in told["systems"]] == [2, 6, 2, 1]
    assert told["systems"][2]["options"] == {"readout": "codes", "calibration_size": 0}
    assert [c["b"] for c in told["comparisons"]] == ["many", "codes", "fewer"]
    tokens = [s["scores"]["prompt_tokens"]["value"] for s in told["systems"]]
    assert tokens[1] > tokens[0] > tokens[3]
    # Demonstrations of the scripted pool have the same length: so has the difference of any row.
    cost = next(d for d in told["comparisons"][2]["differences"] if d["metric"] == "prompt_tokens")
    assert cost["delta"] == pytest.approx(tokens[3] - tokens[0])


def test_readings_that_are_known_are_not_asked_again(
    short: str, pool: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = ScriptedEngine()
    cached = CachedEngine(engine, ReadingCache(tmp_path / "readings.sqlite"))
    first = run(["v1"], pool, data, engine=cached, variant=["plain: fusion=no"])
    # The two variants ask the same prompts, and read them differently.
    assert sum(engine.calls) <= 60 + 2 * 12
    assert 0.4 < first["cached_tokens"] / first["prompt_tokens"] < 0.6
    asked = len(engine.calls)
    again = run(["v1"], pool, data, engine=cached, variant=["plain: fusion=no"])
    assert len(engine.calls) == asked
    assert again["cached_tokens"] == again["prompt_tokens"]
    assert again["comparisons"][0]["mcnemar"] == first["comparisons"][0]["mcnemar"]
    assert "100% of prompt tokens came from a cache" in capsys.readouterr().out
    asked = sum(engine.calls)
    run(["v1", short], pool, data, engine=cached)
    assert 60 <= sum(engine.calls) - asked <= 60 + 12  # only the new template's


def test_an_error_of_one_variant_names_it(pool: Path, data: Path) -> None:
    with pytest.raises(ConfigError, match="--variant 'odd: k=-1': k = '-1'"):
        run(["v1"], pool, data, variant=["odd: k=-1"])
    with pytest.raises(ConfigError, match="a shortlist of 1") as caught:
        run(["v1"], pool, data, variant=["odd: shortlist=1"])
    assert caught.value.__notes__ == ["variant 'odd': odd: shortlist=1"]


def test_the_plan_is_printed_before(
    short: str, pool: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(["v1", short], pool, data, margin=0.05, alpha=0.1)
    assert found["plan"]["effect"] == 0.05
    assert [line["discordance"] for line in found["plan"]["lines"]] == [0.05, 0.1, 0.2]
    told = " ".join(capsys.readouterr().err.split())
    assert "Plan: 60 rows, two-sided 10 % level, power 80 %" in told
    assert "rows to detect 5.0 points" in told


def test_a_sequential_run_may_stop_early(
    short: str, pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "many.csv"
    rows = [f"t{i},thing number {i},{'pos' if i % 3 else 'neg'}" for i in range(300)]
    data.write_text("\n".join(["id,text,label", *rows]) + "\n", encoding="utf-8")
    options: dict[str, Any] = {"sequential": True, "every": 25, "margin": 0.4}
    told = run(["v1", short], pool, data, **options)
    [c] = told["comparisons"]
    state = c["sequential"]
    assert state["decision"] != "continue"
    assert told["rows_asked"] == state["rows"] == c["rows"] < told["rows"] == 300
    assert c["decision"]["text"] == told["decision"]
    assert told["decision"].startswith(f"After {state['rows']} rows ")
    first = c["differences"][0]
    assert (first["metric"], first["test"]) == ("accuracy", "e-process")
    assert (first["interval"]["low"], first["interval"]["high"]) == (state["low"], state["high"])
    shown = capsys.readouterr()
    assert f"Sequential: {state['rows']} of 300 rows used, a look every 25 rows" in shown.out
    assert "valid at every look" in shown.out
    assert "may stop much earlier" in shown.err
    assert "After 25 rows" in shown.err
    again = run(["v1", short], pool, data, **options)
    assert again["decision"] == told["decision"]


def test_slices_by_column_language_and_length(
    short: str, pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "sliced.csv"
    rows = [
        f"t{i},thing {'very ' * (i % 25)}number {i},{'pos' if i % 3 else 'neg'},"
        f"{('books', 'shoes', 'tea')[min(i // 30, 2)]}"
        for i in range(70)
    ]
    data.write_text("\n".join(["id,text,label,kind", *rows]) + "\n", encoding="utf-8")
    told = run(["v1", short], pool, data, slices=["kind"])
    slices = told["comparisons"][0]["slices"]
    assert list(slices) == ["class", "kind", "text length"]
    books, _, tea = slices["kind"]
    assert (books["value"], books["n"]) == ("books", 30)
    assert books["interval"] is not None
    assert books["p_adjusted"] is not None
    assert (tea["n"], tea["interval"], tea["p_value"]) == (10, None, None)
    assert tea["note"] == "10 rows, fewer than 20"
    assert sum(s["n"] for s in slices["text length"]) == 70
    assert "by kind: books (n 30)" in capsys.readouterr().out
    with pytest.raises(ColumnError, match="'shop'"):
        run(["v1", short], pool, data, slices=["shop"])
    with pytest.raises(ConfigError, match="'id' has 70 values"):
        run(["v1", short], pool, data, slices=["id"])


def test_reports_hold_the_flips_with_both_prompts(
    short: str, pool: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, folder = tmp_path / "page.html", tmp_path / "report"
    told = run(["v1", short], pool, data, output=page, report=folder, report_language="zh")
    files = sorted(p.name for p in folder.iterdir() if p.is_file())
    assert files == ["report.html", "report.json", "report.md"]
    assert list((folder / "figures").glob("*.svg"))
    html = page.read_text(encoding="utf-8")
    assert html == (folder / "report.html").read_text(encoding="utf-8")
    assert 'lang="zh-CN"' in html
    assert "<script" not in html
    flip = told["comparisons"][0]["flips"][0]
    assert "Review: thing number" in flip["extra_a"]["prompt"]
    assert "Customer: thing number" in flip["extra_b"]["prompt"]
    for extra in (flip["extra_a"], flip["extra_b"]):
        assert extra["prompt"].splitlines()[-1] in html
    assert f"wrote {page}" in capsys.readouterr().out.replace("\n", "")
    markdown = tmp_path / "page.md"
    run(["v1", short], pool, data, output=markdown)
    assert markdown.read_text(encoding="utf-8").startswith("# A/B: review")


def test_without_texts_nothing_of_the_rows_is_written(
    short: str, pool: Path, data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "report"
    told = run(["v1", short], pool, data, report=folder, texts=False)
    assert told["comparisons"][0]["flips"]
    pages = [p for p in folder.rglob("*") if p.is_file() and p.suffix != ".png"]
    written = [p.read_text(encoding="utf-8") for p in pages]
    for text in (*written, json.dumps(told)):
        assert "thing number" not in text


def test_gold_with_one_class_leaves_the_auc_undefined(
    short: str, pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "one.csv"
    rows = [f"t{i},thing number {i},pos" for i in range(40)]
    data.write_text("\n".join(["id,text,label", *rows]), encoding="utf-8")
    told = run(["v1", short], pool, data)
    assert told["systems"][0]["scores"]["roc_auc"]["value"] is None
    assert told["systems"][0]["scores"]["roc_auc"]["reason"]
    assert "AUC of v1 is undefined" in " ".join(capsys.readouterr().out.split())


# -- bad input ---------------------------------------------------------------------------------


def test_a_syntax_error_names_file_and_line_before_any_model_is_loaded(
    pool: Path, data: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.jinja"
    bad.write_text("one\ntwo\n{% for x in %}\n", encoding="utf-8")
    engine = ScriptedEngine()
    with pytest.raises(TemplateError, match=r"bad\.jinja, line 3"):
        run(["v1", str(bad)], pool, data, engine=engine)
    assert engine.calls == []


def test_an_unknown_name_in_a_template_is_reported(pool: Path, data: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jinja"
    bad.write_text("{{ reviews }}\nOverall:", encoding="utf-8")
    engine = ScriptedEngine()
    with pytest.raises(TemplateError, match=r"bad\.jinja.*'reviews'"):
        run(["v1", str(bad)], pool, data, engine=engine)
    assert engine.calls == []


def test_bad_tables_and_targets_are_reported(
    short: str, pool: Path, data: Path, tmp_path: Path
) -> None:
    templates = ["v1", short]
    with pytest.raises(TaskError, match="v9"):
        run(["v1", "v9"], pool, data)
    with pytest.raises(MissingFileError, match=r"none\.csv"):
        run(templates, pool, tmp_path / "none.csv")
    with pytest.raises(MissingFileError, match=r"none\.csv"):
        run(templates, tmp_path / "none.csv", data)
    with pytest.raises(ColumnError, match="'truth'"):
        run(templates, pool, data, label_column="truth", pool_label_column="label")
    with pytest.raises(OutputError, match="no folder"):
        run(templates, pool, data, output=tmp_path / "no" / "out.json")
    doubled = tmp_path / "doubled.csv"
    doubled.write_text("id,text,label\nt1,a,pos\nt1,b,neg\n", encoding="utf-8")
    with pytest.raises(DuplicateIdError, match="line 3: id 't1' is already used on line 2"):
        run(templates, pool, doubled)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"margin": -1.0}, ConfigError, "margin -1.0"),
        ({"margin": 2.0}, ConfigError, "margin 2.0.*0.01 is one point"),
        ({"limit": 0}, ConfigError, "limit 0"),
        ({"alpha": 0.7}, ConfigError, "alpha 0.7"),
        ({"sequential": True, "every": 0}, ConfigError, "every 0"),
        ({"primary": "acuracy"}, ConfigError, "no metric is called 'acuracy'"),
        ({"sequential": True, "primary": "f1_macro"}, ConfigError, "sequential test of f1_macro"),
        ({"output": Path("report.pdf")}, ConfigError, "a .html, .md or .json file"),
        ({"output": Path("no/such/report.html")}, OutputError, "no folder"),
        ({"report_language": "fr"}, ConfigError, "'fr'"),
        ({"gold": Path("gold.csv")}, ConfigError, "gold without --from-log"),
        ({"variant": ["B: kk=1"]}, ConfigError, "no option 'kk'"),
    ],
)
def test_bad_options_are_errors_before_anything_is_read(
    options: dict[str, Any],
    error: type[Exception],
    message: str,
    short: str,
    pool: Path,
    data: Path,
) -> None:
    engine = ScriptedEngine()
    with pytest.raises(error, match=message):
        run(["v1", short], pool, data, engine=engine, **options)
    assert engine.calls == []


def test_a_single_row_is_compared_and_shows_nothing(short: str, pool: Path, data: Path) -> None:
    told = run(["v1", short], pool, data, limit=1)
    assert told["comparisons"][0]["rows"] == 1
    assert told["comparisons"][0]["decision"]["verdict"] == "undecided"


def test_missing_arguments_are_named(pool: Path, data: Path, tmp_path: Path, short: str) -> None:
    with pytest.raises(ConfigError, match="--task is missing"):
        ab(templates=["v1", "v2"], examples=str(pool), data=data)
    with pytest.raises(ConfigError, match="--examples is missing"):
        ab(templates=["v1", "v2"], task="review_sentiment", data=data)
    with pytest.raises(ConfigError, match="--data is missing"):
        ab(templates=["v1", "v2"], task="review_sentiment", examples=str(pool))
    with pytest.raises(ConfigError, match="0 variants"):
        ab()


def test_an_empty_table_is_reported(short: str, pool: Path, tmp_path: Path) -> None:
    templates = ["v1", short]
    empty = tmp_path / "empty.csv"
    empty.write_text("id,text,label\n", encoding="utf-8")
    with pytest.raises(EmptyInputError, match=r"empty\.csv"):
        run(templates, pool, empty)


def test_an_unknown_true_label_is_reported(short: str, pool: Path, tmp_path: Path) -> None:
    data = tmp_path / "labels.csv"
    data.write_text("id,text,label\n1,fine,pos\n2,hm,sideways\n", encoding="utf-8")
    with pytest.raises(UnknownLabelError, match=r"labels\.csv.*'sideways'"):
        run(["v1", short], pool, data)


def test_open_tasks_know_the_pools_labels_only(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    pool, data = tmp_path / "pool.csv", tmp_path / "data.csv"
    pool.write_text("title,label\nred shoe,Shoes\nblue hat,Hats\ntea,Food\n", encoding="utf-8")
    data.write_text("id,title,label\n1,boot,shoes\n2,lamp,Lamps\n", encoding="utf-8")
    options: dict[str, Any] = {"engine": engine, "embedder": "hashed"}
    with pytest.raises(UnknownLabelError, match=r"data\.csv, row '2'.*'Lamps'"):
        ab(templates=["v1", "v2"], task="product_category", examples=pool, data=data, **options)
    assert engine.calls == []
    # A label that the pool has but the sample lacks stays in the comparison, as wrong.
    data.write_text("id,title,label\n1,boot,shoes\n2,cap,Hats\n3,jam,Food\n", encoding="utf-8")
    out = tmp_path / "out.json"
    ab(
        templates=["v1", "v2"],
        task="product_category",
        examples=pool,
        data=data,
        shots=2,
        output=out,
        **options,
    )
    told = json.loads(out.read_text(encoding="utf-8"))
    assert told["rows"] == 3
    assert told["systems"][0]["scores"]["accuracy"]["value"] < 1


def test_the_command_ends_with_one_line_and_a_code(pool: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from ecomfs.cli import main; main()",
            "ab",
            "v1",
            "no.jinja",
            "--task",
            "review_sentiment",
            "--examples",
            str(pool),
            "--data",
            str(pool),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "error: no.jinja: no such template file\n"


@pytest.mark.model
def test_shipped_templates_on_the_samples_with_a_real_model(tmp_path: Path, short: str) -> None:
    samples = SAMPLES / "review_sentiment"
    told = run(
        ["v1", short],
        samples / "pool.csv",
        samples / "test.csv",
        engine="gguf:demo",
        limit=8,
        calibration_size=0,
        output=tmp_path / "out.json",
    )
    assert told["rows"] == 8
    assert told["systems"][0]["scores"]["accuracy"]["value"] is not None


# -- what fusion hides ---------------------------------------------------------------------------


def test_the_model_alone_is_also_compared_if_experts_are_used(
    short: str, pool: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The engine guesses by the prompt, so the variants differ in what it says; the experts are
    the same for both, and the answers hardly differ."""
    told = run(["v1", short], pool, data)
    alone = told["model_alone"]
    names = [s["name"] for s in told["systems"]]
    assert [s["name"] for s in alone["systems"]] == names
    assert alone["comparisons"][0]["rows"] == told["comparisons"][0]["rows"] == 60
    said = " ".join(capsys.readouterr().out.split())
    assert "the model alone, without the experts:" in said
    assert f"The predictions of {names[1]} and {names[0]} differ on " in said
    note = next(n for n in told["notes"] if "by the model alone" in n)
    assert said.count(note) == 1


def test_without_fusion_there_is_nothing_behind_the_answers(
    short: str, pool: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = run(["v1", short], pool, data, calibration_size=12, fusion=False)
    assert "model_alone" not in told
    assert "the model alone" not in capsys.readouterr().out


def test_a_note_says_that_fusion_hides_differences_if_answers_differ_less_than_half_as_often() -> (
    None
):
    def system(name: str, answers: str) -> Predictions:
        gold = ["a"] * len(answers)
        return Predictions.of(gold, list(answers), labels=["a", "b"], name=name)

    same, other = system("A", "aaaa"), system("B", "bbba")
    (line,) = hidden_differences([same, system("B", "baaa")], [same, other])
    assert line.startswith(
        "The predictions of B and A differ on 3 of 4 rows by the model alone, and on 1 after"
    )
    assert line.endswith("Fusion hides most of their differences.")
    (line,) = hidden_differences([same, system("B", "bbaa")], [same, other])
    assert "hides" not in line
