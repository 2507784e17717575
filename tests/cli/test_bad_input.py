"""Every mistake a newcomer makes is one line with the mend, and exit code 2."""

from __future__ import annotations

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
    Path("one.csv").write_text("id,text,label\n1,a,pos\n2,b,pos\n", encoding="utf-8")
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
        (["-e", "one.csv"], "all labelled examples have the label 'pos'"),
        (["-t", "review_sentimnet"], "did you mean 'review_sentiment'"),
        (["--field", "text=review"], "no column 'review'"),
        (["--field", "text"], "write --field NAME=COLUMN"),
        (["--gold", "truth"], "no column 'truth'"),
        (["--id-column", "key"], "no column 'key'"),
        (["--template", "broken.jinja"], "broken.jinja, line 2"),
        (["--template", "nowhere.jinja"], "nowhere.jinja"),
        (["--template", "v99"], "en.v99.jinja"),
        (["--shots", "50"], "50 examples wanted, the pool has 2"),
        (["--k", "-1"], "k is 0 (zero-shot) or more"),
        (["--readout", "magic"], "use auto, words, codes, top-words, top-codes, choice, text"),
        (["--language", "fr"], "use auto, en or zh"),
        (["--strategy", "magic", "--engine", "gguf:smollm2"], "magic"),
        (["--embedder", "magic", "--engine", "gguf:smollm2"], "magic"),
        (["--engine", "gpt"], "names no engine"),
        (["--engine", "gguf:not_a_model.gguf"], "not_a_model.gguf"),
        (["--engine", "gguf:nowhere.gguf"], "nowhere.gguf"),
        (["--engine", "vllm:http://127.0.0.1:9"], "127.0.0.1:9"),
        (["-o", "in.csv", "--engine", "gguf:smollm2"], "output and input are the same file"),
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


def test_missing_input_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["score", "none.csv", "-t", "review_sentiment", "-e", "pool.csv"]) == 2
    assert "none.csv" in capsys.readouterr().err


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
