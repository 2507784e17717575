"""How well are messages of unknown intents detected?

    python eval/bench/out_of_scope.py DATA

Ten of BANKING77's intents are held out: their messages fit no label of the pool, which is the
published 10-shot file without them. Prints the AUROC of the novelty score and of each of its
signals, with bootstrap intervals, and how many known and unknown rows would need review.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np

from ecomfs.batch import read_examples
from ecomfs.calibration import novelty_signs
from ecomfs.core import event_loop
from ecomfs.estimators import FewShotClassifier
from ecomfs.io import fold
from ecomfs.task import load_task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--held-back", type=int, default=10, help="intents")
    parser.add_argument("--rows", type=int, default=60, help="of each kind")
    parser.add_argument("--level", type=float, default=0.1)
    parser.add_argument("--k", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", default="gguf:demo")
    options = parser.parse_args()
    card = load_task("customer_intent")
    folder = options.data / "banking77_en"
    shots = read_examples(folder / "train_10shot.csv", card, label_column="label")
    rows = read_examples(folder / "train.csv", card, label_column="label")
    rng = random.Random(options.seed)
    unknown = set(rng.sample(sorted({e.label for e in shots}), options.held_back))
    pool = [e for e in shots if e.label not in unknown]
    shown = {fold(str(e.fields["text"])) for e in shots}
    fresh = [e for e in rows if fold(str(e.fields["text"])) not in shown]
    known = rng.sample([e for e in fresh if e.label not in unknown], options.rows)
    strange = rng.sample([e for e in fresh if e.label in unknown], options.rows)
    clf = FewShotClassifier(
        "customer_intent",
        options.engine,
        k=options.k,
        seed=options.seed,
        novel_below=options.level,
    ).fit(pool)
    test = known + strange
    traces = event_loop.run(clf.pipeline_.trace([e.fields for e in test], [e.id for e in test]))
    new = np.array([0] * len(known) + [1] * len(strange))
    found = [(c, p) for c, _, p in traces]
    table = novelty_signs(
        [c.opinion.similarity if c.opinion else np.nan for c, _ in found],
        [list(p.probabilities.values()) for _, p in found],
        [np.nan if p.label_mass is None else p.label_mass for _, p in found],
    )
    novelty = clf.pipeline_.policy.novelty
    print(
        f"{len(pool)} labelled messages of {len({e.label for e in pool})} intents; {len(known)} "
        f"known and {len(strange)} unknown rows (of {options.held_back} intents)"
    )
    scores = {
        "distance to the nearest example": table[:, 0],
        "entropy of the answer": table[:, 1],
        "lack of label mass": table[:, 2],
        "1 - confidence": np.array([1 - max(p.probabilities.values()) for _, p in found]),
    }
    if novelty is not None:
        scores["novelty score (all three)"] = novelty.score(table)
    for name, score in scores.items():
        low, high = bootstrap(score, new)
        print(f"  AUROC {auroc(score, new):.3f} [{low:.3f}, {high:.3f}]  {name}")
    p = np.array([np.nan if q.novelty is None else q.novelty for _, q in found])
    for name, of in (("known", new == 0), ("unknown", new == 1)):
        print(f"  {(p[of] < options.level).mean():.1%} of {name} rows below {options.level}")
    right = [q.label == e.label for (_, q), e in zip(found, test, strict=True)][: len(known)]
    print(f"  {np.mean(right):.1%} of known rows right and not left to a person")


def auroc(score: np.ndarray, new: np.ndarray) -> float:
    """Probability that an unknown row scores higher than a known one; ties count half."""
    above = score[new == 1][:, None] - score[new == 0][None, :]
    return float((above > 0).mean() + 0.5 * (above == 0).mean())


def bootstrap(score: np.ndarray, new: np.ndarray, n: int = 2000) -> tuple[float, float]:
    """95 % percentile interval, resampling both known and unknown rows."""
    rng = np.random.default_rng(0)
    places = [np.flatnonzero(new == kind) for kind in (0, 1)]
    values = []
    for _ in range(n):
        drawn = np.concatenate([rng.choice(p, len(p)) for p in places])
        values.append(auroc(score[drawn], new[drawn]))
    return float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975))


if __name__ == "__main__":
    main()
