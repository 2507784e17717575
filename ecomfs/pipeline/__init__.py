"""A batch of rows to predictions: the rooms above, composed."""

from ecomfs.pipeline.build import (
    build_pipeline,
    build_retriever,
    check_templates,
    choose_layout,
    load_template,
    prompt_languages,
    scores,
)
from ecomfs.pipeline.explain import Explanation, facts, influences
from ecomfs.pipeline.language_setup import LabelShortlist, LanguageSetup
from ecomfs.pipeline.left_out import LeftOutDraw, draw_left_out, draws_alike
from ecomfs.pipeline.options import (
    FormatChoice,
    LanguageChoice,
    LayoutChoice,
    Options,
    ReadoutChoice,
    SimilarityChoice,
    TemplateChoice,
)
from ecomfs.pipeline.pipeline import ANSWER_TOKENS, Pipeline, RowState
from ecomfs.pipeline.refresh import StoredPipeline, refreshed, same_engine

__all__ = [
    "ANSWER_TOKENS",
    "Explanation",
    "FormatChoice",
    "LabelShortlist",
    "LanguageChoice",
    "LanguageSetup",
    "LayoutChoice",
    "LeftOutDraw",
    "Options",
    "Pipeline",
    "ReadoutChoice",
    "RowState",
    "SimilarityChoice",
    "StoredPipeline",
    "TemplateChoice",
    "build_pipeline",
    "build_retriever",
    "check_templates",
    "choose_layout",
    "draw_left_out",
    "draws_alike",
    "facts",
    "influences",
    "load_template",
    "prompt_languages",
    "refreshed",
    "same_engine",
    "scores",
]
