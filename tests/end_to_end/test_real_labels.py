"""Labels that are hard to read, with a real model: SmolLM2 135M, which has only byte tokens for
Chinese.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from ecomfs.core import event_loop
from ecomfs.estimators import FewShotClassifier
from ecomfs.types import Prompt, Question, Reading, Status

pytestmark = pytest.mark.model


def classifier(task: str, pairs: Sequence[tuple[str, str]], **options: Any) -> FewShotClassifier:
    options = {"k": 4, "embedder": "hashed", "calibration_size": 0, "fusion": False, **options}
    texts, labels = zip(*pairs, strict=True)
    return FewShotClassifier(task, "gguf:smollm2", **options).fit(texts, labels)


def stepwise(clf: FewShotClassifier, prompt: Prompt, language: str) -> list[float]:
    """Constrained decoding over the labels' tokens, spelt out: every step asked by itself."""
    engine: Any = clf.engine_
    setup = clf.pipeline_.setups[language]  # type: ignore[index]
    sequences = [tuple(s) for s in setup.readout._sequences]  # type: ignore[attr-defined]
    end = setup.readout._end  # type: ignore[attr-defined]
    whole = [
        (*s, end) if any(o != s and o[: len(s)] == s for o in sequences) else s for s in sequences
    ]
    out = []
    for sequence in whole:
        p = 1.0
        for depth, token in enumerate(sequence):
            allowed = tuple({s[depth]: None for s in whole if s[:depth] == sequence[:depth]})
            (reading,) = event_loop.run(
                engine.read([prompt], [Question(allowed, sequence[:depth])])
            )
            assert isinstance(reading, Reading)
            shares = [math.exp(v) for v in reading.logprobs[0]]
            p *= shares[allowed.index(token)] / sum(shares)
        out.append(p)
    return out


APPLIANCES = [
    ("Bosch 300 litre fridge, white", "Fridges"),
    ("Samsung upright fridge, one door", "Fridges"),
    ("LG American fridge freezer 600 litre", "Fridge Freezers"),
    ("Beko 50/50 fridge freezer, frost free", "Fridge Freezers"),
    ("Chest freezer 200 litre", "Freezers"),
    ("Upright freezer, five drawers", "Freezers"),
]


def test_labels_that_share_first_tokens() -> None:
    clf = classifier("product_category", APPLIANCES, language="en", readout="words", k=6)
    setup = clf.pipeline_.setups["en"]
    assert setup.readout.reads_per_row > 1  # type: ignore[attr-defined]
    found = clf.explain("Samsung fridge freezer 400 litre, frost free")
    assert found.state.prompt is not None
    read = [found.prediction.probabilities[name] for name in clf.pipeline_.space.names]
    assert sum(read) == pytest.approx(1)
    assert read == pytest.approx(stepwise(clf, found.state.prompt, "en"), abs=2e-3)


DEVICES = [
    ("这款手机拍照很清楚，电池耐用", "手机"),
    ("新手机屏幕大，系统流畅", "手机"),
    ("手表走时准，表带舒服", "手表"),
    ("智能手表可以测心率", "手表"),
    ("羊毛手套很暖和", "手套"),
    ("冬天骑车戴的手套", "手套"),
]


@pytest.mark.parametrize("readout", ["words", "codes"])
def test_labels_in_chinese(readout: Any) -> None:
    clf = classifier("product_category", DEVICES, language="zh", readout=readout, k=6)
    found = clf.explain("智能手表可以测心率和睡眠")
    assert found.state.prompt is not None
    assert found.prediction.status is Status.OK
    assert set(found.prediction.probabilities) == {"手机", "手表", "手套"}
    read = [found.prediction.probabilities[name] for name in clf.pipeline_.space.names]
    assert sum(read) == pytest.approx(1)
    assert found.prediction.label_mass is not None
    assert found.prediction.label_mass > 0.01
    assert read == pytest.approx(stepwise(clf, found.state.prompt, "zh"), abs=2e-3)
    if readout == "words":
        # The first character is the same in all of them, and is several tokens.
        assert clf.pipeline_.setups["zh"].readout.reads_per_row > 1  # type: ignore[attr-defined]
        assert found.prediction.label == "手表"


THINGS = [
    f"{colour} {thing}"
    for colour in (
        "red",
        "blue",
        "green",
        "black",
        "white",
        "pink",
        "brown",
        "grey",
        "gold",
        "silver",
    )
    for thing in (
        "lamp",
        "chair",
        "table",
        "sofa",
        "bed",
        "shelf",
        "mirror",
        "carpet",
        "clock",
        "vase",
        "desk",
        "stool",
        "bench",
    )
]


@pytest.mark.parametrize(
    ("readout", "shortlist"), [("auto", None), ("codes", 0)], ids=["shortlist", "all"]
)
def test_more_than_128_labels(readout: Any, shortlist: int | None) -> None:
    assert len(THINGS) > 128
    pairs = [(f"a {name} for the living room", name) for name in THINGS]
    clf = classifier("product_category", pairs, language="en", readout=readout, shortlist=shortlist)
    (found,) = clf.classify(["a nice green vase for the room"])
    assert found.status is Status.OK
    assert set(found.probabilities) == set(THINGS)
    assert sum(found.probabilities.values()) == pytest.approx(1)
    assert min(found.probabilities.values()) > 0
    if shortlist is None:
        assert found.label == "green vase"
    else:
        (question,) = clf.pipeline_.setups["en"].readout.questions  # type: ignore[attr-defined]
        assert len(set(question.codes)) == len(THINGS)  # one look, all of them
