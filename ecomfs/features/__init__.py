"""A row as numbers, derived from the task card with nothing to write by hand, and the feature
expert, which answers from them without a language model.

block.py           what a feature is, and what makes a few of them together
reading.py         rows as they came to typed values
scalars.py         numbers, prices, dates, categories, missing values
items.py, histories.py  histories, and two of them beside each other
texts.py           a text beside another text, and beside the items of histories
label_features.py  a row and a label together
feature_set.py     all features of a task
logistic.py, trees.py  the two learners
expert.py          the feature expert
"""

from ecomfs.features.block import Embed, Feature
from ecomfs.features.expert import FeatureExpert, Reason
from ecomfs.features.feature_set import FeatureSet
from ecomfs.features.label_features import LabelFeatures

__all__ = ["Embed", "Feature", "FeatureExpert", "FeatureSet", "LabelFeatures", "Reason"]
