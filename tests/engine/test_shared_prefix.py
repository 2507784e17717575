"""What texts have in common is tokenized once, and never otherwise than in the whole text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from ecomfs.engine.shared_prefix import PrefixTokenizer, cuts_by_words
from ecomfs.engine.vllm.served_model import FileTokenizer

QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA = QWEN.replace(r"\p{N}|", r"\p{N}{1,3}|", 1)
TEXTS = [
    "Decide whether each product review is positive or negative overall.\n\n- positive\n",
    "Review: it doesn't fit, 100 % cotton <tool_call>\nSentiment: bad\n\n评论：质量很好\n情感：",
]


def split(pattern: str) -> Any:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


WORDS = {
    "gpt2": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "qwen": split(QWEN),
    "llama3": split(LLAMA),
}


def made(words: Any, folder: Path, *, nfc: bool = False, added: bool = True) -> Path:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = words
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TEXTS * 9,
        trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False),
    )
    if added:
        tokenizer.add_tokens([AddedToken("<tool_call>", normalized=False)])
        tokenizer.add_special_tokens([AddedToken("<|im_end|>")])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tokenizers")
    found = {name: made(words, folder / name) for name, words in WORDS.items()}
    return found | {"nfc": made(split(QWEN), folder / "nfc", nfc=True)}


PIECES = st.sampled_from(
    [
        *(" ", "\n", "\r\n", "  ", "'s", "a", "Fit", "1", "234", "。", "好", "\u0301", "é", "<"),
        *("tool_call>", "<tool_call>", "<|im_end|>", "|>", "!", ": ", "\u00a0", "👍", "\ue000"),
    ]
)
TEXT = st.one_of(st.text(max_size=12), st.lists(PIECES, max_size=8).map("".join))
BEGINNING = st.one_of(
    st.sampled_from(TEXTS),
    st.lists(PIECES, min_size=5, max_size=40).map("".join),
    st.sampled_from(TEXTS).flatmap(lambda t: st.integers(0, len(t)).map(lambda n: t[:n])),
)


@pytest.mark.parametrize("name", [*WORDS, "nfc"])
@given(beginning=BEGINNING, rests=st.lists(TEXT, min_size=8, max_size=12))
def test_tokens_are_those_of_whole_texts(
    name: str, beginning: str, rests: list[str], files: dict[str, Path]
) -> None:
    tokenizer = FileTokenizer(files[name])
    texts = [beginning + rest for rest in rests]
    assert tokenizer.encode_all(texts) == [tokenizer.encode(text) for text in texts]
    assert tokenizer.encode_all(texts[::-1]) == [tokenizer.encode(text) for text in texts[::-1]]


@pytest.mark.parametrize("name", [*WORDS, "nfc"])
def test_an_added_token_that_begins_in_common_text_ends_a_word(
    name: str, files: dict[str, Path]
) -> None:
    """Two spaces before it are one token, and two before any other word are not."""
    tokenizer = FileTokenizer(files[name])
    texts = [f"{TEXTS[0]} good  <tool{rest}" for rest in ("_call>", "_call>a", "box", "_calls") * 2]
    assert tokenizer.encode_all(texts) == [tokenizer.encode(text) for text in texts]


@pytest.mark.parametrize("name", [*WORDS, "nfc"])
def test_the_beginning_is_encoded_once(name: str, files: dict[str, Path]) -> None:
    assert cuts_by_words(json.loads(files[name].read_text(encoding="utf-8")))
    raw = Tokenizer.from_file(str(files[name]))
    given: list[int] = []

    def encode(texts: Any) -> list[list[int]]:
        given.append(sum(map(len, texts)))
        return [one.ids for one in raw.encode_batch_fast(list(texts), add_special_tokens=False)]

    beginnings = PrefixTokenizer(encode, raw.pre_tokenizer.pre_tokenize_str)
    for start in (0, 20, 40):
        texts = [f"{TEXTS[0]}Review: good {n}" for n in range(start, start + 20)]
        whole = sum(map(len, texts))
        found = beginnings.encode_all(texts)
        assert found == [raw.encode(text, add_special_tokens=False).ids for text in texts]
        assert given[-1] < whole / 2


@pytest.mark.parametrize(
    "other",
    [
        {"pre_tokenizer": None},
        {"pre_tokenizer": {"type": "Metaspace"}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}},
        {"normalizer": {"type": "NFKC"}},
        {"model": {"type": "Unigram"}},
        {"model": {"type": "BPE", "dropout": 0.1}},
        {"added_tokens": [{"content": "<x>", "lstrip": True}]},
    ],
)
def test_other_tokenizers_encode_whole_texts(other: dict[str, Any]) -> None:
    plain = {
        "model": {"type": "BPE"},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
    }
    assert cuts_by_words(plain)
    assert not cuts_by_words(plain | other)


@pytest.mark.parametrize("form", [r"(?<=a)b", r"\bword", r"^a|b", r"a\Z", r"(a)\1"])
def test_expressions_that_look_back_encode_whole_texts(form: str, tmp_path: Path) -> None:
    known = json.loads(made(split(QWEN), tmp_path).read_text(encoding="utf-8"))
    assert cuts_by_words(known)
    known["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"Regex": form}
    assert not cuts_by_words(known)
