"""A batch of rows to predictions: composes the rooms from features to calibration."""

from ecomfs.pipeline.build import (
    build_pipeline,
    build_retriever,
    check_templates,
    choose_layout,
    gives_logprobs,
    load_template,
    prompt_languages,
)
from ecomfs.pipeline.explain import Explanation, facts, influences
from ecomfs.pipeline.left_out import LeftOutDraw, draw_left_out, needs_uniform_draw
from ecomfs.pipeline.options import Options
from ecomfs.pipeline.pipeline import (
    ANSWER_TOKENS,
    DECIDED,
    SURE,
    LanguageSetup,
    Pipeline,
    RowState,
)
from ecomfs.pipeline.planned import (
    PlannedRow,
    answer_tokens,
    known_prompts,
    planned_fit,
    planned_rows,
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
    "PlannedRow",
    "RowState",
    "StoredPipeline",
    "answer_tokens",
    "build_pipeline",
    "build_retriever",
    "check_templates",
    "choose_layout",
    "draw_left_out",
    "facts",
    "gives_logprobs",
    "influences",
    "known_prompts",
    "load_template",
    "needs_uniform_draw",
    "planned_fit",
    "planned_rows",
    "prompt_languages",
    "refreshed",
    "same_engine",
]
