"""A row of a task to text and to numbers: rendering, quantiles, similarity of fields."""

from ecomfs.features.block import Embed, Feature
from ecomfs.features.cells import CURRENCIES, read_cell, with_decimals
from ecomfs.features.expert import FeatureExpert, Reason
from ecomfs.features.feature_set import FeatureSet, has_features
from ecomfs.features.gower import GowerSpace, ReadRow
from ecomfs.features.items import item_kind, matched
from ecomfs.features.label_features import LabelFeatures
from ecomfs.features.measure import NUMERIC, measured
from ecomfs.features.reading import ValueReader
from ecomfs.features.relations import Relations
from ecomfs.features.row_text import SEARCHED_IN, Rendering, RowText
from ecomfs.features.texts import contained, grams

__all__ = [
    "CURRENCIES",
    "NUMERIC",
    "SEARCHED_IN",
    "Embed",
    "Feature",
    "FeatureExpert",
    "FeatureSet",
    "GowerSpace",
    "LabelFeatures",
    "ReadRow",
    "Reason",
    "Relations",
    "Rendering",
    "RowText",
    "ValueReader",
    "contained",
    "grams",
    "has_features",
    "item_kind",
    "matched",
    "measured",
    "read_cell",
    "with_decimals",
]
