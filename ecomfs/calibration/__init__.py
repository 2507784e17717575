"""Calibrates posteriors, fuses them with the experts, and makes decisions with guarantees."""

from ecomfs.calibration.blend import (
    EXPERTS_ALONE,
    MODEL_ALONE,
    Blend,
    adds_to_experts,
    cross_fitted,
    fit_blend,
)
from ecomfs.calibration.calibrate import (
    MINIMUM,
    Calibration,
    FloatArray,
    cross_calibrated,
    fit_calibration,
    log_scores,
    softmax,
    weights_of,
)
from ecomfs.calibration.conformal import (
    Threshold,
    accept_threshold,
    prediction_set,
    set_threshold,
    skip_threshold,
)
from ecomfs.calibration.decision import Decision, DecisionPolicy
from ecomfs.calibration.fusion import (
    EXPERTS,
    FEATURES,
    MODEL,
    PER_LABEL,
    PRIORS,
    Evidence,
    Fusion,
    expert_priors,
    prior_fusion,
    usable_rows,
)
from ecomfs.calibration.novelty import Novelty, novelty_signs
from ecomfs.calibration.usual_readings import UsualReadings

__all__ = [
    "EXPERTS",
    "EXPERTS_ALONE",
    "FEATURES",
    "MINIMUM",
    "MODEL",
    "MODEL_ALONE",
    "PER_LABEL",
    "PRIORS",
    "Blend",
    "Calibration",
    "Decision",
    "DecisionPolicy",
    "Evidence",
    "FloatArray",
    "Fusion",
    "Novelty",
    "Threshold",
    "UsualReadings",
    "accept_threshold",
    "adds_to_experts",
    "cross_calibrated",
    "cross_fitted",
    "expert_priors",
    "fit_blend",
    "fit_calibration",
    "log_scores",
    "novelty_signs",
    "prediction_set",
    "prior_fusion",
    "set_threshold",
    "skip_threshold",
    "softmax",
    "usable_rows",
    "weights_of",
]
