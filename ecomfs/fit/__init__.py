"""What is fitted on the pool, leave-one-out and without gradients.

fitting     readings of the pool's own examples; calibration and the experts' weights
promises    thresholds for precision, coverage, loss
remarks     what a user should hear: a model that adds nothing, labels that are unlikely
tune        k and read-out, chosen within a budget of readings
profile     Profile: all of it in a file
run         from examples and options to a fitted pipeline
"""

from __future__ import annotations

from ecomfs.fit.fitting import Fitted, calibrate, fit
from ecomfs.fit.profile import Profile
from ecomfs.fit.promises import Wanted
from ecomfs.fit.remarks import rare_labels
from ecomfs.fit.run import Plan, ProfileWarning, fit_pipeline
from ecomfs.fit.tune import Candidate, tune

__all__ = [
    "Candidate",
    "Fitted",
    "Plan",
    "Profile",
    "ProfileWarning",
    "Wanted",
    "calibrate",
    "fit",
    "fit_pipeline",
    "rare_labels",
    "tune",
]
