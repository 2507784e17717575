"""The penalised logistic regression compared with a reference."""

from __future__ import annotations

import numpy as np
import pytest

from ecomfs.features.logistic import PENALTIES, fit_logistic


def drawn(n: int, labels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, labels, n)
    x = rng.normal(size=(n, 4)) / 2 + truth[:, None] * [0.3, 0, 0, 0]
    z = rng.normal(size=(n, labels, 2)) + np.eye(labels)[truth][:, :, None] * [1, 0]
    return x - x.mean(axis=0), z, truth


def test_two_labels_give_what_scikit_learn_gives() -> None:
    sklearn = pytest.importorskip("sklearn.linear_model")
    x, _, truth = drawn(200, 2)
    ours = fit_logistic(x, np.zeros((200, 2, 0)), truth, penalties=(3.0,))
    # Two label columns, each penalised: twice the penalty on their difference's half.
    theirs = sklearn.LogisticRegression(C=2 / 3.0, tol=1e-10, max_iter=1000).fit(x, truth)
    difference = ours.row_weights[:, 1] - ours.row_weights[:, 0]
    assert difference == pytest.approx(theirs.coef_[0], abs=0.02)  # the pseudo-row is ours alone


@pytest.mark.parametrize("labels", [2, 4])
def test_closed_form_leave_one_out_is_near_the_true_one(labels: int) -> None:
    x, z, truth = drawn(40, labels)
    for penalty in (0.5, 5.0):
        near = fit_logistic(x, z, truth, penalties=(penalty,)).loss
        losses = []
        for i in range(40):
            rest = np.arange(40) != i
            model = fit_logistic(x[rest], z[rest], truth[rest], penalties=(penalty,))
            losses.append(-np.log(model.probabilities(x[[i]], z[[i]])[0, truth[i]]))
        assert near == pytest.approx(np.mean(losses), rel=0.05)


def test_features_of_noise_are_shrunk_and_telling_ones_kept() -> None:
    rng = np.random.default_rng(1)
    truth = np.arange(80) % 2
    noise = rng.normal(size=(80, 10)) / 2
    telling = noise + (truth[:, None] - 0.5) * 2
    none = np.zeros((80, 2, 0))
    assert fit_logistic(noise, none, truth).penalty == PENALTIES[0]
    assert fit_logistic(telling, none, truth).penalty < PENALTIES[0]


def test_weights_shared_by_labels_reach_a_label_with_one_example() -> None:
    rng = np.random.default_rng(2)
    truth = np.array([0] * 20 + [1] * 20 + [2])
    z = np.eye(3)[truth][:, :, None] + rng.normal(size=(41, 3, 1)) * 0.1
    model = fit_logistic(np.zeros((41, 0)), z, truth)
    new = np.eye(3)[[2]][:, :, None]
    assert model.probabilities(np.zeros((1, 0)), new).argmax() == 2


def test_more_features_than_examples_and_many_labels_stay_solvable() -> None:
    rng = np.random.default_rng(3)
    x, truth = rng.normal(size=(40, 90)), rng.integers(0, 30, 40)
    p = fit_logistic(x, np.zeros((40, 31, 0)), truth).probabilities(x, np.zeros((40, 31, 0)))
    assert np.isfinite(p).all()
    assert p.sum(axis=1) == pytest.approx(1)
    assert (p[:, 30] > 0).all()


def test_a_penalty_chosen_by_groups_does_not_trust_rows_that_repeat() -> None:
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(12), 10)
    # A feature for each group: rows of a group tell each other's label, and nothing of new ones.
    x = np.eye(12)[groups] - 1 / 12
    labels = (rng.random(12) < 0.5).astype(np.int64)[groups]
    z = np.zeros((len(x), 2, 0))
    by_row = fit_logistic(x, z, labels)
    by_group = fit_logistic(x, z, labels, groups=groups)
    assert by_row.penalty < by_group.penalty
    assert by_row.loss < 0.2 < by_group.loss


def test_the_loss_without_a_group_is_close_to_that_of_fitting_without_it() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(40, 3)) / 2
    groups = np.repeat(np.arange(10), 4)
    labels = (x[:, 0] + rng.normal(size=40) / 2 > 0).astype(np.int64)
    z = np.zeros((40, 2, 0))
    found = fit_logistic(x, z, labels, (3.0,), groups)
    losses = []
    for group in range(10):
        rest = groups != group
        p = fit_logistic(x[rest], z[rest], labels[rest], (3.0,)).probabilities(x[~rest], z[~rest])
        losses += (-np.log(p[np.arange(4), labels[~rest]])).tolist()
    assert abs(found.loss - np.mean(losses)) < 0.02
