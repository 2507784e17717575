"""Variants in every form that users write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.ab import read_variants
from ecomfs.errors import ConfigError, EcomfsError, MissingFileError

TEMPLATE = "{{ row.text }}\nOverall:\n"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("short.jinja", "en.mine.jinja"):
        (tmp_path / name).write_text(TEMPLATE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_words_that_name_templates(files: Path) -> None:
    words = ["v1", "short.jinja", "en.mine.jinja", "en=en.mine.jinja, zh=v1"]
    assert [(v.name, v.options) for v in read_variants(words)] == [
        ("v1", {"template": "v1"}),
        ("short", {"template": Path("short.jinja")}),
        ("en.mine", {"template": {"en": Path("en.mine.jinja")}}),
        ("A", {"template": {"en": Path("en.mine.jinja"), "zh": "v1"}}),
    ]


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("few: k=4", "few", {"k": 4}),
        ("k=4 template=v2", "k=4 template=v2", {"k": 4, "template": "v2"}),
        ("in use:", "in use", {}),
        (
            "m: engine=vllm:http://h:8000,http://g:8000",
            "m",
            {"engine": "vllm:http://h:8000,http://g:8000"},
        ),
        ("engine=vllm:http://h:8000/v1", "A", {"engine": "vllm:http://h:8000/v1"}),
        (
            "x: readout=codes strategy=top_k embedder=st:org/model",
            "x",
            {"readout": "codes", "strategy": "top_k", "embedder": "st:org/model"},
        ),
        ("x: template=en=v1,zh=v2 k=none", "x", None),
        ("x: template=en=v1,zh=v2 k=null", "x", {"template": {"en": "v1", "zh": "v2"}, "k": None}),
        ("x: 'engine=gguf:my model.gguf'", "x", {"engine": "gguf:my model.gguf"}),
        ("x: calibration_size=0 fusion=no", "x", {"calibration_size": 0, "fusion": False}),
        ("x: profile=fit.json max_loss=0.01", "x", {"profile": "fit.json", "max_loss": 0.01}),
        ("对照: k=2", "对照", {"k": 2}),
    ],
)
def test_variants_of_any_option(text: str, name: str, options: dict[str, Any] | None) -> None:
    if options is None:
        with pytest.raises(ConfigError, match="k = 'none'"):
            read_variants(["v1"], [text])
        return
    variant = read_variants([], [text, "other: k=9"])[0]
    assert (variant.name, variant.options, variant.source) == (name, options, text)


def test_templates_and_variants_together_are_named_in_order() -> None:
    found = read_variants(["v1", "v2"], ["k=1", "B1: k=2", "k=3"])
    assert [v.name for v in found] == ["v1", "v2", "k=1", "B1", "k=3"]
    assert [v.name for v in read_variants(["v1", "v1"])] == ["A", "B"]
    assert [v.name for v in read_variants(["v1"], ["v1: k=2"])] == ["A", "v1"]
    assert [v.name for v in read_variants(["v1", "v1"], ["A: k=2"])] == ["B", "C", "A"]


def test_a_file_of_variants(files: Path) -> None:
    Path("variants.yaml").write_text(
        "A: {template: v1, weight: 3}\nB:\n  template: {en: short.jinja}\n  k: 4\n"
        "C: {calibration_size: 0, fusion: no, readout: codes}\nD:\n",
        encoding="utf-8",
    )
    found = read_variants([], ["variants.yaml"])
    assert [(v.name, v.options, v.weight) for v in found] == [
        ("A", {"template": "v1"}, 3),
        ("B", {"template": {"en": Path("short.jinja")}, "k": 4}, 1),
        ("C", {"calibration_size": 0, "fusion": False, "readout": "codes"}, 1),
        ("D", {}, 1),
    ]
    assert found[1].source == "variants.yaml: B"


@pytest.mark.parametrize(
    ("templates", "written", "error", "message"),
    [
        (["v1"], [], ConfigError, "v1: 1 variant to compare"),
        ([], [], ConfigError, "0 variants to compare"),
        (["v1"] * 27, [], ConfigError, "at most 26"),
        (["v1", "fr=v1"], [], ConfigError, "en=A.jinja"),
        (["v1", "en=v1,en=v2"], [], ConfigError, "each once"),
        (["v1", "en="], [], ConfigError, "en=A.jinja"),
        (["v1", "no/such.jinja"], [], MissingFileError, r"such\.jinja: no such template file"),
        (["v1", "prompts/mine.txt"], [], ConfigError, r"end in \.jinja"),
        (["v1"], ["B: kk=4"], ConfigError, "no option 'kk' .*did you mean 'k'"),
        (["v1"], ["B: task=other"], ConfigError, "no option 'task'"),
        (["v1"], ["B: seed=2"], ConfigError, "no option 'seed'"),
        (["v1"], ["B: k=four"], ConfigError, "k = 'four'.*whole number"),
        (["v1"], ["B: k="], ConfigError, "k = ''"),
        (["v1"], ["B: k=1.5"], ConfigError, "k = '1.5'"),
        (["v1"], ["B: k=yes"], ConfigError, "k = 'yes'"),
        (["v1"], ["B: readout=letters"], ConfigError, "one of auto, words, codes, top-words"),
        (["v1"], ["B: k=1 calibration_size=0 k=2"], ConfigError, "k is given twice"),
        (["v1"], ["B: v2"], ConfigError, "'v2' is not an option"),
        (["v1"], ["B: 'k=4"], ConfigError, "No closing quotation"),
        (["v1"], [""], ConfigError, "empty"),
        (["v1"], ["A: k=4", "A: k=5"], ConfigError, "two variants are called 'A'"),
        (["v1"], ["B: weight=-1"], ConfigError, "weight = '-1'"),
        (["v1"], ["B: weight=heavy"], ConfigError, "weight = 'heavy'"),
        (["v1"], ["B: template=no.jinja"], MissingFileError, r"no\.jinja"),
        (["v1"], ["none.yaml"], MissingFileError, r"none\.yaml"),
    ],
)
def test_invalid_variants_are_refused(
    templates: list[str], written: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        read_variants(templates, written)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no variants"),
        ("- k: 4\n", "has no variants"),
        ("A: v1\nB: v2\n", "'v1' are not options"),
        ("A: {k: [4]}\nB:\n", r"k = \[4\]"),
        ("A: {k: 4\n", "variants.yaml"),
        ("A: {template: {fr: v1}}\nB:\n", "en=A.jinja"),
    ],
)
def test_a_file_that_holds_no_variants_is_reported(files: Path, text: str, message: str) -> None:
    Path("variants.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        read_variants([], ["variants.yaml"])


@given(text=st.text(max_size=60))
def test_anything_is_a_variant_or_a_clear_error(text: str) -> None:
    try:
        found = read_variants(["v1"], [text])
    except EcomfsError:  # any other error is a fault
        return
    assert len(found) == 2
    assert len({v.name for v in found}) == 2


def test_a_variant_that_a_file_names_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "variants.yaml"
    file.write_text("A: {k: 2}\nB: {k: 4}\nB: {k: 8}\n")
    with pytest.raises(ConfigError, match="line 3, column 1: 'B' is given twice"):
        read_variants((), [str(file)])
