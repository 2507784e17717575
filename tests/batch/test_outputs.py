"""Where results go, and in which formats."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from scripted import classifier

from ecomfs.batch import find_inputs, name_outputs, score_table
from ecomfs.errors import ConfigError, MissingFileError, OutputError
from ecomfs.io import TableReader


def table(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('id,text\n1,"good, and ""soft"""\n2,\n3,很好\n', encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "name", ["o.csv", "o.tsv", "o.csv.gz", "o.csv.zst", "o.tsv.gz", "o.parquet"]
)
def test_every_format_holds_the_same_rows(tmp_path: Path, name: str) -> None:
    source = table(tmp_path / "in.csv")
    pipeline = classifier(k=0).pipeline_
    score_table(source, tmp_path / "plain.csv", pipeline, probabilities=True)
    score_table(source, tmp_path / name, pipeline, probabilities=True)
    plain, made = (
        [dict(row.cells) for row in TableReader(tmp_path / n).rows()] for n in ("plain.csv", name)
    )
    for one, other in zip(plain, made, strict=True):
        for column, cell in one.items():
            if column in ("confidence", "p_positive", "p_negative") and cell:
                assert float(other[column]) == float(cell)
            else:
                assert other[column] == cell
    first = (tmp_path / name).read_bytes()
    score_table(source, tmp_path / name, pipeline, probabilities=True)
    assert (tmp_path / name).read_bytes() == first


def test_parquet_keeps_numbers_as_numbers(tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    score_table(table(tmp_path / "in.csv"), tmp_path / "o.parquet", classifier(k=0).pipeline_)
    schema = parquet.read_schema(tmp_path / "o.parquet")
    assert str(schema.field("confidence").type) == "double"
    assert str(schema.field("text").type) == "string"
    column = parquet.read_table(tmp_path / "o.parquet")["confidence"].to_pylist()
    assert column[1] is None
    assert column[0] > 0


def test_formats_that_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.xlsx is not written"):
        score_table(table(tmp_path / "in.csv"), tmp_path / "o.xlsx", classifier(k=0).pipeline_)


def test_compressed_input_and_output(tmp_path: Path) -> None:
    plain = table(tmp_path / "in.csv")
    packed = tmp_path / "in.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    pipeline = classifier(k=0).pipeline_
    score_table(packed, tmp_path / "out.csv", pipeline)
    score_table(plain, tmp_path / "other.csv", pipeline)
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "other.csv").read_bytes()


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
    with pytest.raises(MissingFileError, match="no file matches"):
        find_inputs([f"{tmp_path}/*.tsv"])
    with pytest.raises(MissingFileError, match="only results"):
        find_inputs([f"{tmp_path}/*.scored.csv"])
    with pytest.raises(ConfigError, match="named twice"):
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
    with pytest.raises(ConfigError, match="and one output file"):
        name_outputs(inputs, Path(inputs[0]))
    twice = [inputs[0], str(table(tmp_path / "other" / "a.csv"))]
    with pytest.raises(ConfigError, match="2 inputs would be written to"):
        name_outputs(twice, tmp_path / "results")
