"""The public classifiers; they follow the scikit-learn estimator contract."""

from ecomfs.estimators.by_card import Classifier, classifier_of
from ecomfs.estimators.few_shot import FewShotClassifier
from ecomfs.estimators.inputs import Examples, as_rows, columns
from ecomfs.estimators.multilabel import MultiLabelClassifier
from ecomfs.estimators.taxonomy import TaxonomyClassifier

__all__ = [
    "Classifier",
    "Examples",
    "FewShotClassifier",
    "MultiLabelClassifier",
    "TaxonomyClassifier",
    "as_rows",
    "classifier_of",
    "columns",
]
