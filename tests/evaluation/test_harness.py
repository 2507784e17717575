"""The bridge to the harness: conversions keep every row, and its errors become errors of ecomfs."""

from __future__ import annotations

import numpy as np
import pytest

from ecomfs.errors import (
    ConfigError,
    EcomfsError,
    EmptyInputError,
    InputError,
    MissingFileError,
    OutputError,
)
from ecomfs.evaluation.harness import at_stage, harness_errors, to_harness
from ecomfs.types import Prediction, Status
from ecomfs_eval import EvalError
from ecomfs_eval import errors as e


@pytest.mark.parametrize(
    ("raised", "own"),
    [
        (e.NoSuchFileError, MissingFileError),
        (e.EmptyDataError, EmptyInputError),
        (e.RowsDifferError, InputError),
        (e.DataError, InputError),
        (e.WriteError, OutputError),
        (e.OptionError, ConfigError),
        (e.MissingLibraryError, ConfigError),
    ],
)
def test_every_error_of_the_harness_has_one_of_ecomfs(
    raised: type[EvalError], own: type[EcomfsError]
) -> None:
    with pytest.raises(own) as caught, harness_errors({"theirs=": "--ours"}):
        raise raised("a.csv: row 2", hint="use theirs=")
    assert type(caught.value) is own
    assert (caught.value.message, caught.value.hint) == ("a.csv: row 2", "use --ours")


def test_answers_of_every_status_are_kept_as_they_are() -> None:
    found = [
        Prediction("1", "yes", {"no": 0.2, "yes": 0.8}, prompt_tokens=50, cached_tokens=20),
        Prediction("2", None, {"no": 0.4, "yes": 0.6}, Status.ABSTAINED),
        Prediction("3", None, {}, Status.FAILED, error="timeout"),
    ]
    p = to_harness(found, ["yes", "no", "rare"], ["no", "yes", "rare"], ids=["1", "2", "3"])
    assert p.status == ("ok", "abstained", "failed")
    assert p.predicted == ("yes", None, None)
    assert p.probabilities is not None
    assert p.probabilities[1].tolist() == [0.4, 0.6, 0.0]
    assert np.isnan(p.probabilities[2]).all()
    assert p.prompt_tokens is not None
    assert p.prompt_tokens[0] == 50
    assert np.isnan(p.prompt_tokens[1:]).all()  # no prompt was read: unknown, not zero
    assert to_harness(found, ["yes", "no", "no"], ["no", "yes"], tokens=False).prompt_tokens is None


def test_a_stage_is_never_abstained_and_a_failure_stays_one() -> None:
    stages = {"read": (0.9, 0.1), "calibrated": (0.3, 0.7)}
    p = Prediction("1", None, {"a": 0.5, "b": 0.5}, Status.ABSTAINED, stages=stages)
    assert (at_stage(p, ["fused", "calibrated"]).label, at_stage(p, ["read"]).label) == ("b", "a")
    assert at_stage(p, ["experts"]).status == Status.OK
    failed = Prediction("2", None, {}, Status.FAILED)
    assert at_stage(failed, ["read"]) is failed
