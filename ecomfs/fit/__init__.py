"""A pool to a fitted pipeline: choices made leave-one-out, and the profile that keeps them."""

from ecomfs.fit.fitting import Fitted, fit
from ecomfs.fit.guarantees import Guarantees
from ecomfs.fit.profile import Profile
from ecomfs.fit.remarks import rare_labels
from ecomfs.fit.run import FitPlan, ProfileWarning, fit_pipeline
from ecomfs.fit.tune import Factor, TuneCandidate, tune

__all__ = [
    "Factor",
    "FitPlan",
    "Fitted",
    "Guarantees",
    "Profile",
    "ProfileWarning",
    "TuneCandidate",
    "fit",
    "fit_pipeline",
    "rare_labels",
    "tune",
]
