"""Tasks whose rows may have several labels: one yes/no reading per label, all in one batch.

neighbours   the neighbours' vote on each label
prompts      choice of demonstrations, and the prompt that asks about one label
pipeline     reads every label of every row, and decides which labels a row has
fit          thresholds and calibration, leave-one-out, and their profile
explain      the explanation of one row
classifier   MultiLabelClassifier
"""

from ecomfs.estimators.multilabel.classifier import MultiLabelClassifier
from ecomfs.estimators.multilabel.fit import MultiLabelProfile, fit_threshold

__all__ = ["MultiLabelClassifier", "MultiLabelProfile", "fit_threshold"]
