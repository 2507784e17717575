"""A classifier of user and item pairs."""

from __future__ import annotations

from typing import Any

from scripted import ScriptedEngine

from ecomfs.estimators import FewShotClassifier
from ecomfs.types import Example

POOL = [
    Example("1", {"liked": '["Chess"]', "item": "Go"}, "Yes"),
    Example("2", {"liked": '["Chess"]', "item": "Mud"}, "No"),
    Example("3", {"liked": '["Tea"]', "item": "Cup"}, "Yes"),
    Example("4", {"liked": '["Tea"]', "item": "Nail"}, "No"),
]


def fitted(engine: ScriptedEngine | None = None, **options: Any) -> FewShotClassifier:
    return FewShotClassifier(
        "product_preference",
        engine or ScriptedEngine(),
        k=2,
        embedder="hashed",
        language="en",
        calibration_size=0,
        **options,
    ).fit(POOL)
