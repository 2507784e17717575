"""Rows of numbers, categories, dates and histories as text, and their similarity."""

from ecomfs.text.render.gower import EncodedRows, GowerSpace
from ecomfs.text.render.infer import infer_specs
from ecomfs.text.render.renderer import FeatureRenderer, Rendering
from ecomfs.text.render.spec import FieldKind, FieldSpec, Words

__all__ = [
    "EncodedRows",
    "FeatureRenderer",
    "FieldKind",
    "FieldSpec",
    "GowerSpace",
    "Rendering",
    "Words",
    "infer_specs",
]
