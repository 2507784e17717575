"""GGUF models as files: which files belong to a model, and which model a name means."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomfs.engine.factory import open_engine
from ecomfs.engine.gguf import ModelFile, choose_files, quant_of, split_parts
from ecomfs.engine.models import gguf_file
from ecomfs.errors import ModelError


def chosen(names: list[str], quant: str = "") -> list[str]:
    files = [ModelFile(name, 10 * (i + 1)) for i, name in enumerate(names)]
    return [file.path for file in choose_files(files, quant, "gguf:a/b")]


@pytest.mark.parametrize(
    ("names", "quant", "expected"),
    [
        (["m-Q8_0.gguf", "m-Q4_K_M.gguf", "m-Q4_0.gguf"], "", ["m-Q4_K_M.gguf"]),
        (["m-Q2_K.gguf", "m-Q6_K.gguf", "m-Q8_0.gguf"], "", ["m-Q6_K.gguf"]),
        (["m-IQ3_M.gguf", "m-bf16.gguf", "m.md"], "", ["m-bf16.gguf"]),
        (["model.gguf"], "", ["model.gguf"]),
        (["m-q4_k_m.gguf", "m-q5_k_m.gguf"], "Q5_K_M", ["m-q5_k_m.gguf"]),
        (["m.Q4_K_M.gguf", "m.Q4_K_S.gguf"], "q4_k_s", ["m.Q4_K_S.gguf"]),
        (["m-UD-Q4_K_XL.gguf", "m-Q8_0.gguf"], "Q4_K_XL", ["m-UD-Q4_K_XL.gguf"]),
        (["m-Q4_K_M.gguf", "m-UD-Q4_K_M.gguf"], "Q4_K_M", ["m-Q4_K_M.gguf"]),
        (["a-Q8_0.gguf", "b-Q8_0.gguf"], "B-q8_0.gguf", ["b-Q8_0.gguf"]),
        (["mmproj-m-Q8_0.gguf", "imatrix.gguf", "m-Q8_0.gguf"], "Q8_0", ["m-Q8_0.gguf"]),
        (["m-MXFP4_MOE.gguf", "m-TQ1_0.gguf"], "", ["m-MXFP4_MOE.gguf"]),
        (
            ["Q8_0/m-Q8_0-00002-of-00002.gguf", "Q8_0/m-Q8_0-00001-of-00002.gguf"],
            "q8_0",
            ["Q8_0/m-Q8_0-00001-of-00002.gguf", "Q8_0/m-Q8_0-00002-of-00002.gguf"],
        ),
        (
            ["m-f16-00001-of-00002.gguf", "m-f16-00002-of-00002.gguf", "m-f16.gguf"],
            "m-f16.gguf",
            ["m-f16.gguf"],
        ),
    ],
)
def test_the_file_of_a_quantisation(names: list[str], quant: str, expected: list[str]) -> None:
    assert chosen(names, quant) == expected


@pytest.mark.parametrize(
    ("names", "quant", "message", "hint"),
    [
        ([], "", "no GGUF file", "transformers:"),
        (["a.safetensors", "mmproj-f16.gguf"], "", "no GGUF file", "transformers:"),
        (["m-Q8_0.gguf", "m-Q4_0.gguf"], "Q5_K_M", "no GGUF file is Q5_K_M", "Q4_0, Q8_0"),
        (["m-Q2_K.gguf", "m-IQ3_M.gguf"], "", "at least 4 bits", "IQ3_M, Q2_K"),
        (["m-Q2_K.gguf"], "", "at least 4 bits", "Q2_K"),
        (["a-Q4_K_M.gguf", "b-Q4_K_M.gguf"], "", "2 GGUF files are Q4_K_M", "gguf:a/b:b-Q4_K_M"),
        (["a-Q8_0.gguf", "b-Q8_0.gguf"], "", "2 GGUF files are Q8_0", "gguf:a/b:a-Q8_0.gguf"),
        (["a.gguf", "b.gguf"], "", "at least 4 bits", "a.gguf, b.gguf"),
        (
            ["m-Q8_0-00001-of-00003.gguf", "m-Q8_0-00003-of-00003.gguf"],
            "",
            "part 2 of 3",
            "one folder",
        ),
    ],
)
def test_no_file_or_several_is_an_error_that_names_them(
    names: list[str], quant: str, message: str, hint: str
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        chosen(names, quant)
    assert hint in caught.value.hint


@given(st.text(max_size=30))
def test_any_file_name_has_a_quantisation_or_none(name: str) -> None:
    assert quant_of(name) == quant_of(name.lower()) or not name.isascii()


def test_a_folder_of_gguf_files_is_chosen_from(tmp_path: Path) -> None:
    for name in ("m-Q4_K_M.gguf", "m-Q8_0.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    assert gguf_file(str(tmp_path)).name == "m-Q4_K_M.gguf"
    assert gguf_file(f"{tmp_path}:q8_0").name == "m-Q8_0.gguf"
    with pytest.raises(ModelError, match="no GGUF file is Q6_K"):
        gguf_file(f"{tmp_path}:Q6_K")


def test_a_split_model_on_disk_needs_all_its_parts(tmp_path: Path) -> None:
    first, second = (tmp_path / f"m-0000{n}-of-00002.gguf" for n in (1, 2))
    first.write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="part 2 of 2"):
        open_engine(f"gguf:{first}")
    second.write_bytes(b"GGUF")
    assert split_parts(first) == [first, second]
    with pytest.raises(ModelError, match="later part") as caught:
        open_engine(f"gguf:{second}")
    assert first.name in caught.value.hint
