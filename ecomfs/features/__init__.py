"""Converts a row to text and to numbers: rendering, quantiles, similarity of fields."""

from ecomfs.features.block import Embed, Feature
from ecomfs.features.cells import CURRENCIES, read_cell, with_decimals
from ecomfs.features.expert import FeatureExpert, Reason
from ecomfs.features.feature_set import FeatureSet, has_features
from ecomfs.features.gower import GowerSpace, ReadRow
from ecomfs.features.items import item_kind, match_key
from ecomfs.features.label_features import LabelFeatures
from ecomfs.features.measure import NUMERIC, comparable_value
from ecomfs.features.relations import Relations
from ecomfs.features.row_text import SEARCH_LANGUAGE, Rendering, RowText
from ecomfs.features.texts import containment, grams
from ecomfs.features.value_reader import ValueReader

__all__ = [
    "CURRENCIES",
    "NUMERIC",
    "SEARCH_LANGUAGE",
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
    "comparable_value",
    "containment",
    "grams",
    "has_features",
    "item_kind",
    "match_key",
    "read_cell",
    "with_decimals",
]
