"""``ecomfs examples``, and pools as ``--examples`` of other commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ecomfs.batch import export_examples, read_examples
from ecomfs.cli import run
from ecomfs.pool import Pool
from ecomfs.task import load_task
from ecomfs.types import Example

TASK = "review_sentiment"
FIRST = 'id,review,Verdict\na,"good, really",positive\nb,poor,negative\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    Path("first.csv").write_text(FIRST, encoding="utf-8")
    return tmp_path


@pytest.fixture
def filled(folder: Path) -> Path:
    """A database file with the two examples of ``first.csv`` as version 1."""
    assert load("first.csv", "--label-column", "Verdict") == 0
    return folder / "pool.db"


def examples(verb: str, *arguments: str) -> int:
    return run(["examples", verb, *arguments, "--pool", "pool.db"])


def load(*arguments: str) -> int:
    return examples("import", "--task", TASK, *arguments)


def held(file: Path, name: str = "default") -> dict[str, tuple[str, str]]:
    with Pool.open(file, name, create=False) as pool:
        return {e.id: (e.fields["text"], e.label) for e in pool.examples()}


def error(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


def test_import_keeps_ids_and_finds_columns(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load("first.csv", "--label-column", "Verdict") == 0
    assert "2 added · 0 unchanged · 0 changed: version 1" in capsys.readouterr().out
    found = {"a": ("good, really", "positive"), "b": ("poor", "negative")}
    assert held(folder / "pool.db") == found


def test_import_again_changes_nothing(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load("first.csv", "--label-column", "Verdict") == 0
    assert "0 added · 2 unchanged · 0 changed: version 1" in capsys.readouterr().out


def test_replace_relabels_what_changed(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = 'id,text,label\na,"good, really",negative\nb,poor,negative\nc,new,positive\n'
    Path("second.csv").write_text(rows, encoding="utf-8")
    before = held(filled)
    capsys.readouterr()
    assert load("second.csv") == 2
    assert "example 'a' with another label (relabel them with --replace" in error(capsys)
    assert held(filled) == before
    assert load("second.csv", "--replace") == 0
    assert "1 added · 1 unchanged · 1 changed: version 3" in capsys.readouterr().out
    assert {i: label for i, (_, label) in held(filled).items()} == {
        "a": "negative",
        "b": "negative",
        "c": "positive",
    }


def test_replace_makes_one_version_of_all_new_labels(
    filled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = 'id,text,label\na,"good, really",negative\nb,poor,positive\n'
    Path("second.csv").write_text(rows, encoding="utf-8")
    capsys.readouterr()
    assert load("second.csv", "--replace") == 0
    assert "0 added · 0 unchanged · 2 changed: version 2" in capsys.readouterr().out


def test_another_text_under_a_known_id_is_refused(
    filled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("second.csv").write_text("id,text,label\nb,other,negative\nc,new,positive\n")
    capsys.readouterr()
    assert load("second.csv", "--replace") == 2
    assert "example 'b' with other fields" in error(capsys)
    assert set(held(filled)) == {"a", "b"}


def test_a_field_can_be_named(folder: Path) -> None:
    Path("odd.csv").write_text("id,words,label\na,fine,positive\n", encoding="utf-8")
    assert load("odd.csv", "--field", "text=words", "--pool-name", "shop") == 0
    assert held(folder / "pool.db", "shop") == {"a": ("fine", "positive")}


def test_add_relabel_retire_and_history(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = ["--task", TASK]
    assert examples("add", "fits well", "-l", "positive", "--id", "n", *task) == 0
    assert examples("relabel", "n", "negative", *task, "--note", "misread") == 0
    assert examples("retire", "n", "b") == 0
    assert set(held(filled)) == {"a"}
    capsys.readouterr()
    assert examples("history", "n") == 0
    lines = capsys.readouterr().out
    assert [words in lines for words in ("2 to 2", "3 to 3", "misread", "text: fits well")] == [
        True
    ] * 4
    assert examples("stats") == 0
    told = capsys.readouterr().out
    assert "version 4 · 1 examples" in told
    for change in ("add 2", "add 1", "relabel 1", "retire 2", "import of first.csv"):
        assert change in told


def test_add_needs_no_id_and_notices_repeats(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert examples("add", "fits well", "-l", "positive", "-t", TASK) == 0
    [id_] = held(folder / "pool.db")
    assert id_ in capsys.readouterr().out
    assert examples("add", "fits well", "-l", "negative", "-t", TASK) == 2
    assert "already has" in error(capsys)


def test_add_with_several_fields(folder: Path) -> None:
    values = ["--set", "query=mug", "--set", "product=blue cup, 300 ml = 10 oz"]
    assert examples("add", *values, "-l", "relevant", "-t", "query_relevance", "--id", "q") in (
        0,
        2,
    )
    with Pool.open(folder / "pool.db", create=False) as pool:
        [example] = pool.examples()
    assert example.fields["product"] == "blue cup, 300 ml = 10 oz"


def test_cells_of_another_kind_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("odd.csv").write_text("id,AGE,label\nx,young,responds\n", encoding="utf-8")
    assert examples("import", "odd.csv", "-t", "ad_response", "--field", "age=AGE") == 2
    assert "odd.csv: example 'x'" in error(capsys)
    assert examples("add", "-t", "ad_response", "-l", "responds", "--set", "age=young") == 2
    assert "the example" in error(capsys)
    assert not Path("pool.db").exists()


def test_export_reads_back_equal(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert examples("relabel", "a", "negative") == 0
    for version, label in (("1", "positive"), ("2", "negative")):
        assert examples("export", "out.csv", "--version", version) == 0
        found = read_examples("out.csv", load_task(TASK))
        assert [(e.id, e.label) for e in found] == [("a", label), ("b", "negative")]
        assert found[0].fields["text"] == "good, really"
    assert "2 examples of version 2" in capsys.readouterr().out
    assert examples("export", "out.csv", "--version", "9") == 2
    assert "versions are 0 to 2" in capsys.readouterr().err


def test_export_of_values_that_are_no_text(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with Pool.in_memory(
        [
            Example("1", {"label": 2, "seen": ["a", "b"]}, "x"),
            Example("2", {"label": None}, "y", synthetic=True),
        ]
    ) as pool:
        assert export_examples(pool, out) == (1, 2)
    assert out.read_text(encoding="utf-8") == (
        'id,label_2,seen,label,synthetic\n1,2,"[""a"", ""b""]",x,no\n2,,,y,yes\n'
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import", "none.csv", "-t", TASK], "none.csv"),
        (["import", "first.csv", "-t", "nothing"], "nothing"),
        (["import", "first.csv", "-t", TASK], "no column 'label'"),
        (["import", "bad.csv", "-t", TASK], "bad.csv, line 2: unknown label 'meh'"),
        (["add", "x", "-l", "meh", "-t", TASK], "unknown label 'meh'"),
        (["add", "-l", "positive", "-t", TASK], "field 'text' is empty"),
        (["add", "-l", "positive", "-t", TASK, "--set", "txt=a"], "no field 'txt'"),
        (["add", "-l", "positive", "-t", TASK, "--set", "text"], "write --set FIELD=VALUE"),
        (["relabel", "a", "meh", "-t", TASK], "unknown label 'meh'"),
        (["relabel", "a", "meh", "-t", TASK, "--new-label"], "unknown label 'meh'"),
        (["relabel", "a", "postive"], "has no label 'postive' (did you mean 'positive'? labels"),
        (["relabel", "a", "Positive"], "did you mean 'positive'?"),
        (["relabel", "a", "neutral"], "--new-label adds one"),
        (["relabel", "a", " "], "the label is ''"),
        (["relabel", "a", " ", "--new-label"], "the label is ''"),
        (["relabel", "zz", "positive"], "does not have example 'zz'"),
        (["retire", "a", "zz"], "does not have example 'zz'"),
        (["history", "zz"], "never held example 'zz'"),
        (["stats", "--pool-name", "other"], "has no pool 'other'"),
        (["export", "no/such/out.csv"], "mkdir -p no/such"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_mistakes_are_one_line_and_change_nothing(
    filled: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    Path("bad.csv").write_text("id,text,label\nz,fine,meh\n", encoding="utf-8")
    before = held(filled)
    capsys.readouterr()
    assert examples(*arguments) == 2
    assert message in error(capsys)
    assert held(filled) == before


def test_a_database_that_is_not_there_is_not_made(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in (["stats"], ["relabel", "a", "positive"], ["retire", "a"], ["export", "o.csv"]):
        assert examples(*verb) == 2
        assert "pool.db: no such pool database" in error(capsys)
    assert not Path("pool.db").exists()
    assert not Path("o.csv").exists()


def test_a_database_of_another_kind(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["examples", "stats", "--pool", "mysql://shop/db"]) == 2
    assert "a pool cannot live in 'mysql'" in error(capsys)


def test_help_of_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("add", "import", "relabel", "retire", "history", "export", "stats"):
        assert run(["examples", verb, "--help"]) == 0
        assert "--pool" in capsys.readouterr().out


def test_relabel_takes_labels_of_the_pool_or_the_task_and_others_with_an_option(
    filled: Path,
) -> None:
    assert examples("relabel", "a", " negative ") == 0
    assert examples("relabel", "a", "neutral", "--task", TASK) == 0
    assert examples("relabel", "a", "good", "--new-label") == 0
    assert held(filled)["a"][1] == "good"


OPEN = ["--task", "product_category"]


@pytest.fixture
def shop(folder: Path) -> Path:
    """A pool of a task that takes its labels from the pool."""
    Path("shop.csv").write_text("id,title,label\n1,red shoe,shoes\n2,warm coat,coats\n")
    assert examples("import", "shop.csv", *OPEN) == 0
    return folder / "pool.db"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "hat", "-l", "shoe", *OPEN], "the example: pool 'default' has no label 'shoe' ("),
        (["add", "hat", "-l", "Shoes", *OPEN], "did you mean 'shoes'?"),
        (
            ["import", "more.csv", *OPEN],
            "more.csv: example '3': pool 'default' has no label 'coat'",
        ),
        (["import", "again.csv", "--replace", *OPEN], "did you mean 'shoes'?"),
        (["relabel", "1", "shoess", *OPEN], "did you mean 'shoes'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_new_label_of_a_filled_pool_needs_an_option(
    shop: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    Path("more.csv").write_text("id,title,label\n3,rain coat,coat\n")
    Path("again.csv").write_text("id,title,label\n1,red shoe,shoos\n")

    def version() -> int:
        with Pool.open(shop, create=False) as pool:
            return pool.version

    capsys.readouterr()
    assert examples(*arguments) == 2
    assert message in error(capsys)
    assert version() == 1
    assert examples(*arguments, "--new-label") == 0
    assert version() == 2


def test_audit_names_what_cannot_be_trusted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"p{n},lovely soft {w} fits well,positive,ann" for n, w in enumerate("abcdefgh")]
    rows += [f"n{n},broken and torn {w} came late,negative,bob" for n, w in enumerate("abcdefgh")]
    rows += ["bad,broken and torn z came late,positive,bob"]
    Path("all.csv").write_text("\n".join(["id,text,label,who", *rows]), encoding="utf-8")
    assert load("all.csv") == 0
    capsys.readouterr()
    arguments = ["--task", TASK, "--embedder", "hashed"]
    assert examples("audit", *arguments) == 0
    out = capsys.readouterr().out
    assert "contradicted · bad · positive → negative?" in out
    assert "no author is known" in out
    assert examples("audit", *arguments, "--json") == 0
    result = json.loads(capsys.readouterr().out)["result"]
    assert result["counts"]["contradicted"] == 1
    assert result["doubts"][-1]["id"] == "bad"
    assert held(folder / "pool.db")["bad"][1] == "positive"
    assert examples("audit", *arguments, "--author", "who") == 2
    assert "no example has a field 'who'" in error(capsys)
