"""Tasks whose rows may have several labels: one yes/no reading per label, all in one batch.

neighbours   the neighbours' vote on each label
prompts      demonstrations that serve all labels of a row, and the prompt, its label last
rows         rows × labels, read, and the labels of each row
fit          thresholds and calibration, leave-one-out, and the profile that keeps them
explain      what led to the labels of one row
classifier   MultiLabelClassifier
"""

from ecomfs.estimators.multilabel.classifier import MultiLabelClassifier
from ecomfs.estimators.multilabel.fit import MultiLabelProfile, fit_threshold

__all__ = ["MultiLabelClassifier", "MultiLabelProfile", "fit_threshold"]
