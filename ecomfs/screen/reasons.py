"""Why a row is suspicious: one word a reason, the same in every output."""

from __future__ import annotations

from collections.abc import Mapping

POOL_TEXT = "pool-text"
FORGED_EXAMPLE = "forged-example"
CONTROL_TOKEN = "control-token"
DIRECTIVE = "directive"
HIDDEN = "hidden-characters"
MIXED_SCRIPT = "mixed-script"
FULL_WIDTH = "full-width"
ENCODED = "encoded"
REPEATED = "repeated"
DISAGREEMENT = "disagreement"
LABEL_MASS = "label-mass"

REASONS: Mapping[str, str] = {
    POOL_TEXT: "it contains the text of a labelled example",
    FORGED_EXAMPLE: "it imitates an example of the prompt, or its answer",
    CONTROL_TOKEN: "it contains the text of a control token, or the header of a turn",
    DIRECTIVE: "it tells the model what to answer, or to ignore its instruction",
    HIDDEN: "characters that nobody sees stand inside its words",
    MIXED_SCRIPT: "a word has letters of two scripts that look alike",
    FULL_WIDTH: "Latin words are written in full-width letters",
    ENCODED: "it contains text in base64",
    REPEATED: "one sentence stands in it three times or more",
    DISAGREEMENT: "the model is sure of a label that the experts find unlikely",
    LABEL_MASS: "the model gives the labels far less probability than it usually does",
}
"""Reason → what was seen. All but the last two need no model."""

__all__ = ["REASONS"]
