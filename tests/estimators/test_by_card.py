"""The type of classifier is chosen by the task card."""

from __future__ import annotations

import pytest

from ecomfs.errors import ConfigError
from ecomfs.estimators import (
    FewShotClassifier,
    MultiLabelClassifier,
    TaxonomyClassifier,
    classifier_of,
)
from ecomfs.task import load_task


def test_the_card_decides_which_classifier_it_is() -> None:
    assert isinstance(classifier_of("review_sentiment"), FewShotClassifier)
    assert isinstance(classifier_of("review_aspects"), MultiLabelClassifier)
    card = load_task("product_category").model_copy(update={"hierarchy": " / "})
    tree = classifier_of(card, beam=3)
    assert isinstance(tree, TaxonomyClassifier)
    assert (tree.separator, tree.beam, tree.task) == (" / ", 3, card)


def test_an_option_that_it_does_not_have_may_have_its_default_only() -> None:
    assert classifier_of("review_aspects", tune=192, passes=1, k=3).get_params()["k"] == 3
    with pytest.raises(ConfigError, match=r"--passes with task 'review_aspects'.*several labels"):
        classifier_of("review_aspects", passes=2)
    card = load_task("product_category").model_copy(update={"hierarchy": ">"})
    with pytest.raises(ConfigError, match=r"--max-loss with task 'product_category'.*a hierarchy"):
        classifier_of(card, max_loss=0.01)
