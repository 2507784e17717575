"""A batch of rows to predictions: the rooms above, composed."""

from ecomfs.pipeline.build import (
    build_pipeline,
    build_retriever,
    check_templates,
    load_template,
    scores,
    spoken_languages,
)
from ecomfs.pipeline.explain import Explanation
from ecomfs.pipeline.influence import influences
from ecomfs.pipeline.language_setup import Voice
from ecomfs.pipeline.options import (
    LanguageChoice,
    Options,
    ReadoutChoice,
    SimilarityChoice,
    TemplateChoice,
)
from ecomfs.pipeline.pipeline import ANSWER_TOKENS, Case, Pipeline
from ecomfs.pipeline.refresh import Kept, refreshed, same_engine

__all__ = [
    "ANSWER_TOKENS",
    "Case",
    "Explanation",
    "Kept",
    "LanguageChoice",
    "Options",
    "Pipeline",
    "ReadoutChoice",
    "SimilarityChoice",
    "TemplateChoice",
    "Voice",
    "build_pipeline",
    "build_retriever",
    "check_templates",
    "influences",
    "load_template",
    "refreshed",
    "same_engine",
    "scores",
    "spoken_languages",
]
