"""Tables of pairs: ranked within lists, and the metrics of the lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ranked import fitted
from scripted import ScriptedEngine

pytest.importorskip("sklearn")

from sklearn.metrics import ndcg_score, roc_auc_score

from ecomfs.errors import ColumnError, EmptyInputError, InputError
from ecomfs.rank import PairTable, list_order, positive_label, rankings, read_pairs, score_pairs
from ecomfs.rank.pairs import POPULARITY, RANDOM
from ecomfs.task import load_task
from ecomfs.types import Status
from ecomfs_eval import Predictions, get_metric, score

CARD = load_task("product_preference")
USERS = {"a": [1, 0, 0, 1], "b": [0, 1, 1], "c": [0, 0], "d": [1, 1]}


def write(tmp_path: Path, *more: str) -> Path:
    lines = ["user,shop,liked,target,label"]
    for user, likes in USERS.items():
        for i, like in enumerate(likes):
            lines.append(f'{user},s{i % 2},"[""{user}""]",item {user}{i},{["no", "yes"][like]}')
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join([*lines, *more, ""]), encoding="utf-8")
    return path


def found(tmp_path: Path, *more: str, engine: Any = None, **options: Any) -> Any:
    options = {"group": "user", "gold": "label", **options}
    pairs = read_pairs(write(tmp_path, *more), CARD, **options)
    pipeline = fitted(engine).pipeline_
    predictions = score_pairs(pipeline, pairs)
    return (
        pairs,
        predictions,
        rankings(pairs, predictions, pipeline, positive_label(pipeline.space, CARD)),
    )


def by_hand(p: Predictions, pairs: PairTable, metric: Any) -> float:
    """The mean over the users that have both labels."""
    assert p.probabilities is not None
    values = []
    for user in ("a", "b"):
        rows = [i for i, name in enumerate(pairs.lists) if name == user]
        values.append(metric(np.array(USERS[user]), p.probabilities[rows, 1]))
    return float(np.mean(values))


def test_metrics_are_means_over_users(tmp_path: Path) -> None:
    pairs, predictions, systems = found(tmp_path)
    assert [p.status for p in predictions] == [Status.OK] * 11
    assert list(systems) == ["LLM", "kNN only", POPULARITY, RANDOM]
    for p in (systems["LLM"], systems["kNN only"]):
        auc = get_metric("query_auc")(p)
        assert auc.value == pytest.approx(by_hand(p, pairs, roc_auc_score))
        assert auc.note == (
            "2 of 4 queries have only relevant or no relevant rows and are left out"
        )
    llm = systems["LLM"]
    assert llm.positive == "Yes"  # the pool's spelling of the card's like
    ndcg = get_metric("ndcg@10")(llm)
    mean_of_two = by_hand(llm, pairs, lambda y, s: ndcg_score([y], [s]))
    assert ndcg.value == pytest.approx((2 * mean_of_two + 1.0) / 3)  # d: all liked
    assert ndcg.note == "1 of 4 queries have no relevant row and are left out"


def test_the_random_order_is_the_expectation(tmp_path: Path) -> None:
    _, _, systems = found(tmp_path)
    p = systems[RANDOM]
    assert get_metric("query_auc")(p).value == 0.5
    assert get_metric("roc_auc")(p).value == 0.5
    assert get_metric("hit@1")(p).value == pytest.approx((2 / 4 + 2 / 3 + 1) / 3)


def test_intervals_draw_users(tmp_path: Path) -> None:
    _, _, systems = found(tmp_path)
    assert "4 groups resampled" in score(get_metric("roc_auc"), systems["LLM"]).note
    pairs, _, systems = found(tmp_path, group="shop", unit="user")
    assert set(pairs.lists) == {"s0", "s1"}
    assert systems["LLM"].groups == tuple(pairs.units)
    assert systems["LLM"].queries == tuple(pairs.lists)


def test_without_a_positive_there_is_no_value(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("user,target,label\na,x,no\na,y,no\n", encoding="utf-8")
    pairs = read_pairs(path, CARD, group="user", gold="label")
    pipeline = fitted().pipeline_
    systems = rankings(pairs, score_pairs(pipeline, pairs), pipeline, "Yes")
    for name in ("ndcg@10", "hit@1", "mrr", "query_auc"):
        result = get_metric(name)(systems["LLM"])
        assert result.value is None
        assert "no query has a row of 'Yes'" in result.reason


def test_rows_without_a_truth_are_ranked_and_not_judged(tmp_path: Path) -> None:
    pairs, predictions, systems = found(tmp_path, 'a,s0,"[""a""]",item z,')
    assert len(predictions) == 12
    assert len(systems["LLM"]) == 11
    assert len(list_order(pairs.lists, [p.probabilities.get("Yes") for p in predictions])) == 12


def test_a_bad_row_is_last_and_counts(tmp_path: Path) -> None:
    bad = ["a,s0,oops,item y,yes", 'a,s0,"[""a""]",item x,yes,more']
    pairs, predictions, systems = found(tmp_path, *bad)
    assert [p.status for p in predictions[-2:]] == [Status.FAILED, Status.FAILED]
    assert "is not JSON" in predictions[-2].error
    assert "6 cells where the header has 5" in predictions[-1].error
    order = list_order(pairs.lists, [p.probabilities.get("Yes") for p in predictions])
    of_a = [i for i, _ in order if pairs.lists[i] == "a"]
    assert of_a[-2:] == [11, 12]
    assert len(systems["LLM"]) == 13
    # Two relevant rows that were lost cost the list: they stand below all others.
    scores = [p.probabilities.get("Yes", -1.0) for p in predictions]
    rows = [i for i, name in enumerate(pairs.lists) if name == "a"]
    truth = [*USERS["a"], 1, 1]
    expected = roc_auc_score(truth, [scores[i] for i in rows])
    alone = Predictions.of(
        ["yes" if t else "no" for t in truth],
        probabilities=[
            [1 - scores[i], scores[i]] if scores[i] >= 0 else [np.nan] * 2 for i in rows
        ],
        labels=["no", "yes"],
        status=["ok"] * 4 + ["failed"] * 2,
        queries=("a",) * 6,
    )
    assert get_metric("query_auc")(alone).value == pytest.approx(expected)


def test_three_labels_are_one_against_the_rest(tmp_path: Path) -> None:
    _, predictions, systems = found(tmp_path, 'a,s0,"[""a""]",item z,perhaps')
    p = systems["LLM"]
    assert p.labels == ("not Yes", "Yes")
    assert p.gold[-1] == "not Yes"
    assert p.probabilities is not None
    assert p.probabilities[-1, 1] == pytest.approx(predictions[-1].probabilities["Yes"])


@pytest.mark.parametrize(
    ("text", "options", "kind", "message"),
    [
        (
            "user,target\na,x\n,y\n",
            {},
            InputError,
            "pairs.csv, line 3: column 'user' is empty (fill it in: every row belongs to a list)",
        ),
        ("user,target\na,x\n", {"group": "usr"}, ColumnError, "no column 'usr' (did you mean"),
        ("user,target\na,x\n", {"gold": "truth"}, ColumnError, "no column 'truth'"),
        ("user,target\na,x\n", {"unit": "shop"}, ColumnError, "no column 'shop'"),
        ("user,name\na,x\n", {}, ColumnError, "pairs.csv: no column 'item'"),
        ("user,target\n", {}, EmptyInputError, "pairs.csv"),
    ],
)
def test_tables_that_cannot_be_ranked_are_refused(
    tmp_path: Path, text: str, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(kind) as caught:
        read_pairs(path, CARD, **{"group": "user", **options})
    assert message in str(caught.value)


def test_no_call_for_what_is_not_there(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    path = tmp_path / "pairs.csv"
    path.write_text("user,target\na,x,y,z\n", encoding="utf-8")
    pipeline = fitted(engine).pipeline_
    engine.calls.clear()
    [only] = score_pairs(pipeline, read_pairs(path, CARD, group="user"))
    assert only.status == Status.FAILED
    assert sum(engine.calls) == 0
