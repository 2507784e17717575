"""A pool to a fitted pipeline: leave-one-out tuning and calibration, and the profile."""

from ecomfs.fit.fitting import Fitted, fit
from ecomfs.fit.guarantees import NEVER, Guarantees, with_thresholds
from ecomfs.fit.notes import rare_labels
from ecomfs.fit.profile import (
    BlendWeights,
    LanguageCalibration,
    Profile,
    pool_hash,
)
from ecomfs.fit.run import FitPlan, ProfileWarning, fit_pipeline
from ecomfs.fit.tune import Factor, TuneCandidate, tune

__all__ = [
    "NEVER",
    "BlendWeights",
    "Factor",
    "FitPlan",
    "Fitted",
    "Guarantees",
    "LanguageCalibration",
    "Profile",
    "ProfileWarning",
    "TuneCandidate",
    "fit",
    "fit_pipeline",
    "pool_hash",
    "rare_labels",
    "tune",
    "with_thresholds",
]
