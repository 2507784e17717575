"""``ecomfs rank``: options, files and messages."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripted import ScriptedEngine

from ecomfs.cli import run
from ecomfs.io import read_frame

POOL = """id,liked,item,label
1,"[""Chess""]",Go,like
2,"[""Chess""]",Mud,dislike
3,"[""Tea""]",Cup,like
4,"[""Tea""]",Nail,dislike
"""
CATALOGUE = "item_id,title,price,rank\n" + "".join(f"c{i},thing {i},{i}.50,x\n" for i in range(5))
HISTORY = 'user,liked\nu1,"[""Thing 2""]"\nu2,"[""Tea""]"\n'
PAIRS = "key,user,title,label\n" + "".join(
    f"{i},u{i % 3},thing {i},{'like' if i % 2 else 'dislike'}\n" for i in range(9)
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    engine = ScriptedEngine(fails_on="thing 4")
    monkeypatch.setattr("ecomfs.estimators.base.shared_engine", lambda spec: engine)
    Path("pool.csv").write_text(POOL, "utf-8")
    Path("catalogue.csv").write_text(CATALOGUE, "utf-8")
    Path("history.csv").write_text(HISTORY, "utf-8")
    Path("pairs.csv").write_text(PAIRS, "utf-8")
    return tmp_path


def rank(*arguments: str, pool: bool = True) -> int:
    base = ["rank", *arguments, "-t", "product_preference", "-q", "--embedder", "hashed"]
    return run([*base, *(["-e", "pool.csv"] if pool else []), "--calibration-size", "0"])


def both(*arguments: str, pool: bool = True) -> int:
    return rank("--user", "history.csv", "--items", "catalogue.csv", *arguments, pool=pool)


def test_a_list_for_each_user(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert both("--top", "2", "-o", "out.csv") == 0
    table = read_frame("out.csv").data
    assert list(table.columns) == [
        "user",
        "rank_2",
        "score",
        "item_id",
        "title",
        "price",
        "rank",
        "status",
        "suggestion",
        "prediction_set",
        "novelty",
        "suspicious",
        "source",
        "error",
        "note",
    ]
    assert table["user"].to_list() == ["u1"] * 3 + ["u2"] * 3
    assert table["rank_2"].to_list() == ["1", "2", ""] * 2
    for _, one in table.groupby("user"):
        scores = one["score"].to_list()
        assert float(scores[0]) >= float(scores[1])
        assert scores[2] == ""
        assert one["item_id"].to_list()[2] == "c4"
        assert one["status"].to_list()[2] == "failed"
        assert "no answer" in one["error"].to_list()[2]
    assert "c2" not in table[table["user"] == "u1"]["item_id"].to_list()
    said = capsys.readouterr().err
    assert "2 users × 5 items: 9 pairs read · 1 already in a history, left out" in said
    assert "2 without a score, at the end of their lists" in said
    assert "score = P(like) · 4 labelled examples" in said


def test_seen_items_on_request(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert both("--keep-seen") == 0
    table = read_frame("catalogue.ranked.csv").data
    assert len(table) == 10
    said = capsys.readouterr().err
    assert "10 pairs read" in said
    assert "left out" not in said


def test_zero_shot_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert both(pool=False) == 0
    assert "zero-shot: no labelled examples" in capsys.readouterr().err


def test_pairs_with_gold(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rank("pairs.csv", "--group", "user", "--gold-column", "label") == 0
    table = read_frame("pairs.ranked.csv").data
    assert len(table) == 9
    assert table["user"].to_list() == ["u0"] * 3 + ["u1"] * 3 + ["u2"] * 3
    assert set(table[table["user"] == "u0"]["rank"]) == {"1", "2", "3"}
    assert table[table["key"] == "4"]["rank"].to_list() == [""]
    said = capsys.readouterr()
    for word in ("NDCG@10", "random order", "kNN only", "LLM", "too few to trust"):
        assert word in said.out
    assert "9 rows in 3 lists by 'user' · 1 without a score" in said.err


def test_field_names_a_column_of_whichever_table_has_it(folder: Path) -> None:
    Path("history.csv").write_text('user,past\nu1,"[""Tea""]"\n', "utf-8")
    Path("catalogue.csv").write_text("what\nGo\n", "utf-8")
    assert both("--field", "liked=past", "--field", "item=what", "-o", "out.csv") == 0
    assert read_frame("out.csv").data["status"].to_list() == ["ok"]


def test_the_similarity_of_pairs_can_be_chosen(folder: Path) -> None:
    """The likest of the pool by its words is not the likest by its fields."""
    Path("pool.csv").write_text(
        "id,liked,history,item,label\n"
        '1,"[""Tea"", ""Mud"", ""Nail""]",,thing 9,like\n2,,"[""Thing 2""]",Cup,dislike\n',
        "utf-8",
    )
    found = {}
    for similarity in ("text", "tabular"):
        name = f"{similarity}.csv"
        assert both("--similarity", similarity, "--k", "1", "--no-fusion", "-o", name) == 0
        found[similarity] = read_frame(name).data["score"].to_list()
    assert found["text"] != found["tabular"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --user and --items, or a table of pairs with --group"),
        (["--user", "history.csv"], "nothing to rank"),
        (
            ["pairs.csv"],
            "pairs.csv: the column that defines the lists is not known (name it with --group)",
        ),
        (
            ["pairs.csv", "--group", "user", "--items", "catalogue.csv"],
            "give either PAIRS.csv, or --user",
        ),
        (["pairs.csv", "--group", "usr"], "no column 'usr'"),
        (["pairs.csv", "--group", "user", "-o", "pairs.csv"], "are the same file"),
        (["pairs.csv", "--group", "user", "-o", "no/out.csv"], "no/out.csv: its folder does not"),
        (["pairs.csv", "--group", "user", "--top", "0"], "top = 0"),
        (["pairs.csv", "--group", "user", "--positive", "love"], "unknown label 'love'"),
        (
            ["pairs.csv", "--group", "user", "--similarity", "looks"],
            "--similarity is one of auto, text, tabular, mixed",
        ),
        (["none.csv", "--group", "user"], "none.csv: no such file"),
        (["--user", "history.csv", "--items", "history.csv"], "history.csv: no column 'item'"),
        (["--user", "none.csv", "--items", "catalogue.csv"], "none.csv: no such file"),
    ],
)
def test_one_line_and_exit_code_2(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert rank(*arguments) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not list(folder.glob("*.ranked.csv"))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("history.csv", "user,liked\nu1,Chess\n", "history.csv, line 2: column 'liked': 'Chess'"),
        ("catalogue.csv", CATALOGUE + "c1,again,1,x\n", "catalogue.csv, line 7: item 'c1' is alr"),
        ("catalogue.csv", "item_id,title\n", "catalogue.csv"),
    ],
)
def test_bad_tables_stop_before_the_model_is_loaded(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    text: str,
    message: str,
) -> None:
    def loaded(spec: str) -> None:
        raise AssertionError(spec)

    monkeypatch.setattr("ecomfs.estimators.base.shared_engine", loaded)
    Path(name).write_text(text, "utf-8")
    assert both() == 2
    assert message in capsys.readouterr().err
