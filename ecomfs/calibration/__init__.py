"""A posterior to a calibrated, fused and guaranteed distribution, and the decision."""

from ecomfs.calibration.blend import MODEL_ALONE, Blend, cross_fitted, fit_blend
from ecomfs.calibration.calibrate import MINIMUM, Calibration, cross_calibrated, fit_calibration
from ecomfs.calibration.conformal import Threshold, accept_threshold, set_threshold, skip_threshold
from ecomfs.calibration.decision import Decided, Policy, cheap_answer
from ecomfs.calibration.fusion import PER_LABEL, PRIOR, PRIOR_CHEAP, Evidence, Fusion
from ecomfs.calibration.novelty import Novelty, signs

__all__ = [
    "MINIMUM",
    "MODEL_ALONE",
    "PER_LABEL",
    "PRIOR",
    "PRIOR_CHEAP",
    "Blend",
    "Calibration",
    "Decided",
    "Evidence",
    "Fusion",
    "Novelty",
    "Policy",
    "Threshold",
    "accept_threshold",
    "cheap_answer",
    "cross_calibrated",
    "cross_fitted",
    "fit_blend",
    "fit_calibration",
    "set_threshold",
    "signs",
    "skip_threshold",
]
