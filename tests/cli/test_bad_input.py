"""Common mistakes are an error of one line with a hint, and exit code 2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ecomfs.cli import run

POOL = "id,text,label\n1,fine,positive\n2,poor,negative\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ECOMFS_CACHE", str(tmp_path / "cache"))
    Path("pool.csv").write_text(POOL, encoding="utf-8")
    Path("in.csv").write_text("id,text\n1,good\n", encoding="utf-8")
    Path("empty.csv").write_bytes(b"")
    Path("broken.jinja").write_text("{{ instruction }}\n{% for d in %}", encoding="utf-8")
    Path("one.csv").write_text("id,text,label\n1,a,positive\n2,b,positive\n", encoding="utf-8")
    Path("odd.csv").write_text("id,text,label\n1,a,positive\n2,b,meh\n", encoding="utf-8")
    Path("open.csv").write_text('id,text,label\n1,"a,positive\n2,b,negative\n', encoding="utf-8")
    Path("bytes.csv").write_bytes(bytes(range(128, 255)) * 4)
    for name, card in (("broken", "name: x\nlabels: [a,\n"), ("misspelt", "name: x\nlabelz: []\n")):
        Path(name).mkdir()
        Path(name, "task.yaml").write_text(card, encoding="utf-8")
    Path("folder").mkdir()
    Path("not_a_model").mkdir()
    Path("not_a_model.gguf").write_bytes(b"hello")
    return tmp_path


def score(*arguments: str) -> int:
    base = ["score", "in.csv", "-t", "review_sentiment", "-e", "pool.csv", "--embedder", "hashed"]
    return run([*base, "-q", *arguments])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-e", "nowhere.csv"], "nowhere.csv"),
        (["-e", "empty.csv"], "empty.csv"),
        (["-e", "one.csv"], "one.csv, line 2: id '1' is already used in pool.csv, line 2"),
        (["-e", "odd.csv"], "odd.csv, line 3: unknown label 'meh'"),
        (["-e", "open.csv"], "a quote that opens in this row is never closed (correct that line"),
        (["-e", "folder"], "folder: this is a folder, not a file"),
        (["-e", "bytes.csv"], "save it as UTF-8: iconv"),
        (
            ["-t", "folder"],
            "the folder folder has no task.yaml (create a task with",
        ),
        (["-t", "broken"], "broken/task.yaml: not valid YAML: line 3, column 1: "),
        (["-t", "misspelt"], "misspelt/task.yaml: labelz: unknown key (did you mean 'lab"),
        (
            ["-t", "misspelt/task.yaml"],
            "task.yaml is a file (give the folder of the task: misspelt)",
        ),
        (["--profile", "none.json"], "none.json: No such file or directory (make a profile with"),
        (["-t", "review_sentimnet"], "did you mean 'review_sentiment'"),
        (["--field", "text=review"], "no column 'review'"),
        (["--field", "text"], "write --field NAME=COLUMN"),
        (["--gold-column", "truth"], "no column 'truth'"),
        (["--id-column", "key"], "no column 'key'"),
        (["--template", "broken.jinja"], "broken.jinja, line 2"),
        (["--template", "nowhere.jinja"], "nowhere.jinja"),
        (["--template", "v99"], "en.v99.jinja"),
        (["--shots", "50"], "50 examples wanted, the pool has 2"),
        (["--k", "-1"], "--k = -1 (--k is a whole number, 0 or more)"),
        (
            ["--readout", "magic"],
            "--readout is one of auto, words, codes, top-words",
        ),
        (["--language", "fr"], "--language is one of auto, en, zh"),
        (["--strategy", "magic", "--engine", "gguf:smollm2"], "magic"),
        (["--embedder", "magic", "--engine", "gguf:smollm2"], "magic"),
        (["--engine", "gpt"], "names no engine"),
        (["--engine", "gguf:not_a_model.gguf"], "not_a_model.gguf"),
        (["--engine", "gguf:nowhere.gguf"], "nowhere.gguf"),
        (["--engine", "vllm:http://127.0.0.1:9"], "127.0.0.1:9"),
        (["-o", "in.csv", "--engine", "gguf:smollm2"], "-o in.csv and IN.csv … are the same file"),
        (["-o", "no/such/out.csv", "--engine", "gguf:smollm2"], "choose another folder with -o"),
        (["--encoding", "latin-1"], "use utf-8 or utf-8-sig"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_one_line_and_exit_code_2(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    before = Path("in.csv").read_bytes()
    assert score(*arguments) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert Path("in.csv").read_bytes() == before
    assert not Path("in.scored.csv").exists()


def test_examples_of_one_label_are_too_few(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["score", "in.csv", "-t", "review_sentiment", "-e", "one.csv"]) == 2
    assert "one.csv: all labelled examples have the label 'positive'" in capsys.readouterr().err


_EMPTY = [
    (["score", "", "-t", "review_sentiment"], "IN.csv … is empty"),
    (["score", "in.csv", "-t", "review_sentiment", "-e", ""], "--examples is empty"),
    (["score", "in.csv", "-t", "review_sentiment", "-e", "pool.csv", "-e", ""], "--examples is"),
    (["score", "in.csv", "-t", "review_sentiment", "-o", ""], "-o is empty"),
    (["score", "in.csv", "-t", "review_sentiment", "--gold-column", ""], "--gold-column is empty"),
    (["plan", "", "-t", "review_sentiment"], "IN.csv … is empty"),
    (["explain", "", "--row", "1", "-t", "review_sentiment"], "ROW is empty"),
    (["rank", "", "--group", "g", "-t", "product_preference"], "PAIRS.csv] is empty"),
    (["rank", ".", "--group", "g", "-t", "product_preference"], ".: this is a folder"),
    (["rank", "--user", "", "--items", "i.csv", "-t", "product_preference"], "--user is empty"),
    (["suggest", "", "-t", "review_sentiment", "-o", "s.csv"], "UNLABELLED.csv is empty"),
    (["fit", "-t", "review_sentiment", "-e", "pool.csv", "-o", ""], "-o is empty"),
    (["ab", "v1", "-t", "review_sentiment", "-e", "pool.csv", "-d", ""], "--data is empty"),
    (["serve", "-t", "review_sentiment", "-e", "pool.csv", "--api-key", ""], "--api-key is empty"),
    (["examples", "import", "", "-p", "a.db", "-t", "review_sentiment"], "FILE.csv is empty"),
    (["examples", "stats", "-p", ""], "--pool is empty"),
    (["prepare", "clean", "", "-o", "c.csv", "--text-column", "text"], "IN.csv is empty"),
    (["prepare", "clean", ".", "-o", "-", "--text-column", "text"], ".: this is a folder"),
    (["prepare", "augment", "", "-t", "review_sentiment", "-o", "a.csv"], "POOL is empty"),
    (["eval", "score", ""], "PREDICTIONS is empty"),
    (["eval", "score", "folder"], "folder: this is a folder, not a file"),
    (["eval", "run", ""], "suite is empty"),
    (["eval", "report", ""], "RESULTS is empty"),
    (["lint-task", ""], "NAME_OR_FOLDER is empty"),
    (["new-task", "n", "--from", "", "--label-column", "label"], "--from is empty"),
    (["demo", "--samples", ""], "--samples is empty"),
]


@pytest.mark.parametrize(("arguments", "message"), _EMPTY, ids=lambda v: str(v)[:40])
def test_an_empty_path_is_no_current_folder(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(arguments) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]


def test_missing_input_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["score", "none.csv", "-t", "review_sentiment", "-e", "pool.csv"]) == 2
    assert "none.csv" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--strategy", "magic"], "magic"),
        (["--embedder", "st:"], "no embedder 'st:'"),
    ],
)
def test_it_does_not_wait_for_the_model(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """Two mistakes, the second in the model: only the first one is reported."""
    assert score(*arguments, "--engine", "gguf:nowhere.gguf") == 2
    said = capsys.readouterr().err
    assert message in said
    assert "nowhere.gguf" not in said


@pytest.mark.parametrize("output", ["no/such/profile.json", "folder", "pool.csv"])
def test_fit_checks_that_it_can_write_before_it_reads(
    folder: Path, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    arguments = ["fit", "-t", "review_sentiment", "-e", "pool.csv", "-o", output]
    assert run([*arguments, "--engine", "gguf:nowhere.gguf"]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ")
    assert output in error
    assert Path("pool.csv").read_text(encoding="utf-8") == POOL


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["prepare", "clean", "pool.csv", "--text-column", "txt", "-o", "o.csv"],
            "pool.csv: no column 'txt'",
        ),
        (
            [
                "prepare",
                "clean",
                "pool.csv",
                "--text-column",
                "label",
                "-o",
                "o.csv",
                "--test",
                "in.csv",
            ],
            "in.csv: no column 'label'",
        ),
        (["eval", "score", "pool.csv"], "name it with --predicted-column"),
        (["score", "missing.csv", "-t", "review_sentiment"], "missing.csv: no such file"),
        (["score", "folder", "-t", "review_sentiment"], "folder: this is a folder, not a file ("),
        (["score", "empty.csv", "-t", "review_sentiment"], "empty.csv: the file is empty ("),
        (["score", "in.csv", "-t", "reviews"], "no task 'reviews' (did you mean 'review_"),
        (["plan", "in.csv", "-t", "review_sentiment", "--strategy", "best"], "--strategy is one"),
        (["rank", "-t", "product_preference"], "nothing to rank (give --user and --items"),
        (["examples", "stats", "-p", "folder"], "folder: this is a folder, not a database ("),
        (
            ["examples", "add", "x", "-l", "positive", "-t", "review_sentiment", "-p", "folder"],
            "folder: this is a folder, not a database (name a file in it)",
        ),
        (["examples", "stats", "-p", "in.csv"], "the file is not SQLite; give another path"),
        (["runs", "show", "nothing"], "see: ecomfs runs list"),
        (["check", "--engine", "gpt"], "'gpt' names no engine (one of: "),
        (["eval", "run", "broken/task.yaml"], "broken/task.yaml: not valid YAML: line 3, column 1"),
    ],
)
def test_other_verbs_name_the_file_and_the_option(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(arguments) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_warning_is_one_line_without_the_code_it_comes_from(folder: Path) -> None:
    code = (
        "import warnings, ecomfs.cli as cli\n"
        "cli.run = lambda *_, **__: warnings.warn('fit again') or 0\n"
        "cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr == "warning: fit again\n"


def test_unknown_option_is_usage(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score("--exmaples", "x") == 2
    assert "--exmaples" in capsys.readouterr().err


def test_help_of_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("score", "ab", "serve", "up", "check", "tasks", "models", "demo"):
        assert run([verb, "--help"]) == 0
        assert verb in capsys.readouterr().out


def test_tasks_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tasks"]) == 0
    assert "review_sentiment" in capsys.readouterr().out
    assert run(["tasks", "review_sentiment"]) == 0
    assert "差评" in capsys.readouterr().out


def test_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models"]) == 0
    out = capsys.readouterr().out
    assert "gguf:demo" in out
    assert "Gemma" in out
