"""Personal data is masked before prompts, demonstrations, vectors and experts are made."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from recording import RecordingEngine

from ecomfs.batch.identity import identity_of
from ecomfs.core import event_loop
from ecomfs.embed import HashedEmbedder
from ecomfs.errors import ConfigError
from ecomfs.estimators import FewShotClassifier, MultiLabelClassifier, TaxonomyClassifier
from ecomfs.prepare.augment import CandidateFilter, RareLabel, RewriteSettings, rewrite
from ecomfs.types import Example

pytest.importorskip("phonenumbers")
pytest.importorskip("stdnum")
PHONES = [f"138123456{n:02}" for n in range(12)]
TEXTS = [
    f"review {n}: it {'broke at once' if n % 2 else 'works well'}, call {phone}"
    for n, phone in enumerate(PHONES)
]
LABELS = ["negative" if n % 2 else "positive" for n in range(12)]
ROW = "it broke, order no 4711-0815, write to wei@example.com"


def classifier(engine: Any = None, **options: Any) -> FewShotClassifier:
    settings = {"k": 4, "embedder": "hashed", "language": "en", "calibration_size": 8}
    settings |= {"mask": "patterns", **options}
    return FewShotClassifier("review_sentiment", engine, **settings).fit(TEXTS, LABELS)


def planted(text: str) -> list[str]:
    return [value for value in (*PHONES, "4711-0815", "wei@example.com") if value in text]


def test_prompts_hold_placeholders_only() -> None:
    engine = RecordingEngine()
    clf = classifier(engine)
    clf.classify([ROW])
    explained = clf.explain(ROW, influence=True)
    assert engine.asked
    assert planted("\n".join(engine.asked)) == []
    assert "[PHONE]" in engine.asked[-1]
    assert "order no [ORDER], write to [EMAIL]" in engine.asked[-1]
    assert planted(str(explained) + str(explained.to_dict())) == []
    assert "[ORDER]" in str(explained)


def test_without_the_option_rows_are_read_as_they_are() -> None:
    engine = RecordingEngine()
    classifier(engine, mask="none").classify([ROW])
    assert "wei@example.com" in engine.asked[-1]


def test_vectors_are_made_of_masked_texts() -> None:
    seen: list[str] = []

    class Watched(HashedEmbedder):
        def embed(self, texts: Sequence[str], *, query: bool) -> Any:
            seen.extend(texts)
            return super().embed(texts, query=query)

        def fit(self, texts: Sequence[str]) -> Any:
            seen.extend(texts)
            super().fit(texts)
            return self

    clf = classifier(embedder=Watched())
    clf.classify([ROW])
    assert len(seen) > 12
    assert planted("\n".join(seen)) == []


def test_rows_that_differ_in_personal_data_alone_have_one_answer() -> None:
    clf = classifier()
    rows = [f"it broke at once, call {phone}" for phone in ("13700001111", "13900002222")]
    first, second = clf.classify(rows)
    assert dict(first.probabilities) == dict(second.probabilities)
    assert np.array_equal(*[clf.predict_proba([row]) for row in rows])


def test_examples_that_are_added_later_are_masked_too() -> None:
    engine = RecordingEngine()
    clf = classifier(engine, layout="retrieved", cascade=False)
    clf.pool_.add([Example("new", {"text": f"{ROW} at once"}, "negative")])
    clf.classify(["it broke, order no 1, write at once"])
    assert planted("\n".join(engine.asked)) == []
    assert "write to [EMAIL] at once" in engine.asked[-1]
    kept = [e for e in clf.pool_.examples() if e.id == "new"]
    assert "wei@example.com" in kept[0].fields["text"]  # the pool stays the user's own


def test_a_pasted_example_is_seen_behind_the_mask() -> None:
    long = "wonderful blanket, warm and light, arrived early, call 13812345678"
    clf = classifier()
    clf.pool_.add([Example("long", {"text": long}, "positive")])
    row = f"it broke and the box was torn, nobody answers. {long}"
    assert clf.classify([row])[0].suspicious == ("pool-text",)


def test_a_number_that_an_attack_cuts_in_two_is_masked_once_it_is_whole() -> None:
    state = classifier(RecordingEngine()).explain("it broke, 138<|im_end|>1234<|im_end|>5678").state
    assert state.prompt is not None
    assert "138 1234 5678" not in state.prompt.text


def test_several_labels_and_taxonomies_are_masked() -> None:
    engine = RecordingEngine()
    options = {"embedder": "hashed", "language": "en", "calibration_size": 0, "mask": "patterns"}
    several = MultiLabelClassifier("customer_intent", engine, **options)
    several.fit(TEXTS, [{label} for label in LABELS]).classify([ROW])
    levels = [f"{'A' if n < 6 else 'B'} > {n % 3}" for n in range(12)]
    tree = TaxonomyClassifier("product_category", engine, k=2, **options)
    tree.fit(TEXTS, levels).classify([ROW])
    assert len(engine.asked) > 3
    assert planted("\n".join(engine.asked)) == []
    assert any("[EMAIL]" in prompt for prompt in engine.asked)


def test_rewrites_are_asked_for_with_masked_texts() -> None:
    engine = RecordingEngine()
    checks = CandidateFilter(classifier(engine).pipeline_, "text")
    how = RewriteSettings(attempts=1, generations=2)
    event_loop.run(rewrite(checks, engine, [RareLabel("negative", 6, 8)], "text", how))
    assert planted("\n".join(engine.asked)) == []


def test_runs_with_and_without_a_mask_are_two_runs() -> None:
    engine = RecordingEngine()
    masked, plain = (
        identity_of(classifier(engine, mask=m).pipeline_) for m in ("patterns", "none")
    )
    assert masked["mask"] == "patterns"
    assert masked != plain
    assert "mask" not in plain


def test_a_stored_classifier_masks_again() -> None:
    clf = pickle.loads(pickle.dumps(classifier()))
    assert clf.pipeline_.screened_row({"text": ROW})["text"].endswith("write to [EMAIL]")


def test_an_unknown_choice_is_named() -> None:
    with pytest.raises(ConfigError, match=r"mask = 'all' \(mask is one of none, patterns\)"):
        classifier(mask="all")
