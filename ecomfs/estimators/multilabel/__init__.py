"""Tasks whose rows may have several labels: one yes/no reading per label, all in one batch.

examples     examples with several labels, and their label space
select       examples that serve all labels of a row
prompts      the prompt, its label last
reader       rows × labels, read
threshold    from which probability on a label is given
fit          thresholds and calibration, leave-one-out
prediction   readings to labels
explain      what led to the labels of one row
rows         the reader, for the rows of tables and requests
profile      what was fitted, in a file
classifier   MultiLabelClassifier
"""

from ecomfs.estimators.multilabel.classifier import MultiLabelClassifier
from ecomfs.estimators.multilabel.prediction import MultiLabelPrediction
from ecomfs.estimators.multilabel.profile import MultiLabelProfile
from ecomfs.estimators.multilabel.threshold import fit_threshold

__all__ = [
    "MultiLabelClassifier",
    "MultiLabelPrediction",
    "MultiLabelProfile",
    "fit_threshold",
]
