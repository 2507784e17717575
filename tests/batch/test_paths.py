"""Paths of inputs and results."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripted import classifier

from ecomfs.batch import (
    find_inputs,
    name_outputs,
    score_table,
)
from ecomfs.errors import ConfigError, MissingFileError, OutputError


def table(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('id,text\n1,"good, and ""soft"""\n2,\n3,很好\n', encoding="utf-8")
    return path


def test_results_of_sheets_and_pipes_lie_beside_their_inputs() -> None:
    named = [name_outputs([source], None)[0].output for source in ("in/b.xlsx#A/B", "in/b.xlsx#*")]
    assert [str(path) for path in named] == ["in/b-A-B.scored.csv", "in/b.scored.csv"]
    assert str(name_outputs(["-"], None)[0].output) == "stdin.scored.csv"


def test_another_file_where_failed_rows_go_is_left_alone(tmp_path: Path) -> None:
    source = table(tmp_path / "in.csv")
    mine = tmp_path / "out.failed.csv"
    mine.write_text("what,i,know\n")
    with pytest.raises(OutputError, match="it is another file"):
        score_table(source, tmp_path / "out.csv", classifier(k=0).pipeline_)
    assert mine.read_text() == "what,i,know\n"


def test_scoring_the_failed_rows_over_themselves_is_refused(tmp_path: Path) -> None:
    source = table(tmp_path / "out.failed.csv")
    with pytest.raises(ConfigError, match=r"table of failed rows .* and the input are the same"):
        score_table(source, tmp_path / "out.csv", classifier(k=0).pipeline_)


def test_patterns(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "a.scored.csv", "a.scored.failed.csv", "deep/c.csv"):
        table(tmp_path / name)
    names = [Path(p).relative_to(tmp_path).as_posix() for p in find_inputs([f"{tmp_path}/*.csv"])]
    assert names == ["a.csv", "b.csv"]
    deep = find_inputs([f"{tmp_path}/**/*.csv"])
    assert [Path(p).name for p in deep] == ["a.csv", "b.csv", "c.csv"]
    odd = table(tmp_path / "what[1].csv")
    assert find_inputs([str(odd)]) == [str(odd)]
    table(tmp_path / "book[1].xlsx")
    sheets = [f"{tmp_path}/book[1].xlsx#*", f"{tmp_path}/book[1].xlsx#May/June"]
    assert find_inputs([*sheets, "book.xlsx#*"]) == [*sheets, "book.xlsx#*"]
    with pytest.raises(MissingFileError, match="no file matches"):
        find_inputs([f"{tmp_path}/*.tsv"])
    with pytest.raises(MissingFileError, match="only results"):
        find_inputs([f"{tmp_path}/*.scored.csv"])
    with pytest.raises(ConfigError, match="given twice"):
        find_inputs([str(odd), str(odd)])


def test_several_inputs_go_into_a_folder(tmp_path: Path) -> None:
    inputs = [str(table(tmp_path / "in" / name)) for name in ("a.csv", "b.tsv.gz")]
    jobs = name_outputs(inputs, tmp_path / "results")
    assert [job.output.name for job in jobs] == ["a.scored.csv", "b.scored.csv"]
    assert (tmp_path / "results").is_dir()
    assert name_outputs(inputs, None)[0].output.parent == tmp_path / "in" / "scored"
    one = name_outputs(inputs[:1], tmp_path / "results")
    assert one[0].output == tmp_path / "results" / "a.scored.csv"
    with pytest.raises(ConfigError, match="this looks like a file"):
        name_outputs(inputs, tmp_path / "all.csv")
    with pytest.raises(ConfigError, match="is one output file"):
        name_outputs(inputs, Path(inputs[0]))
    twice = [inputs[0], str(table(tmp_path / "other" / "a.csv"))]
    with pytest.raises(ConfigError, match="2 inputs would be written to"):
        name_outputs(twice, tmp_path / "results")
