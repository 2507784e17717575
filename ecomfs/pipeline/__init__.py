"""A batch of rows to predictions: the rooms above, composed."""

from ecomfs.pipeline.asks import RowAsk, answer_tokens, fit_asks, known_prompts, row_asks
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
from ecomfs.pipeline.left_out import LeftOutDraw, draw_left_out, draws_alike
from ecomfs.pipeline.options import Options
from ecomfs.pipeline.pipeline import (
    ANSWER_TOKENS,
    DECIDED,
    SURE,
    LanguageSetup,
    Pipeline,
    RowState,
)
from ecomfs.pipeline.refresh import StoredPipeline, refreshed, same_engine
from ecomfs.pipeline.shortlist import LabelShortlist

__all__ = [
    "ANSWER_TOKENS",
    "DECIDED",
    "SURE",
    "Explanation",
    "LabelShortlist",
    "LanguageSetup",
    "LeftOutDraw",
    "Options",
    "Pipeline",
    "RowAsk",
    "RowState",
    "StoredPipeline",
    "answer_tokens",
    "build_pipeline",
    "build_retriever",
    "check_templates",
    "choose_layout",
    "draw_left_out",
    "draws_alike",
    "facts",
    "fit_asks",
    "influences",
    "known_prompts",
    "load_template",
    "prompt_languages",
    "refreshed",
    "row_asks",
    "same_engine",
    "scores",
]
