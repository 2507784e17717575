"""A row of a task to text and to numbers: rendering, quantiles, similarity of fields."""

from ecomfs.features.block import Embed, Feature
from ecomfs.features.cells import CURRENCIES, read_cell, with_decimals
from ecomfs.features.expert import FeatureExpert, Reason
from ecomfs.features.feature_set import FeatureSet
from ecomfs.features.gower import EncodedRows, GowerSpace, ReadRow
from ecomfs.features.infer import infer_specs
from ecomfs.features.label_features import LabelFeatures
from ecomfs.features.measure import NUMERIC, measured
from ecomfs.features.renderer import FeatureRenderer, Rendering
from ecomfs.features.row_text import RowText

__all__ = [
    "CURRENCIES",
    "NUMERIC",
    "Embed",
    "EncodedRows",
    "Feature",
    "FeatureExpert",
    "FeatureRenderer",
    "FeatureSet",
    "GowerSpace",
    "LabelFeatures",
    "ReadRow",
    "Reason",
    "Rendering",
    "RowText",
    "infer_specs",
    "measured",
    "read_cell",
    "with_decimals",
]
