"""How often is the true label on the shortlist that the experts choose?

    python eval/bench/shortlist.py DATA

The pools are BANKING77's published 5- and 10-shot files; the rows are drawn from its training file,
without the texts of the pool. No language model. Prints for shortlists of several sizes the recall
with its Wilson interval, and the recall estimated leave-one-out on the pool.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ecomfs.batch import read_examples
from ecomfs.embed import open_embedder
from ecomfs.experts import NEIGHBOURS, Experts
from ecomfs.io import fold
from ecomfs.pipeline import LabelShortlist
from ecomfs.pool import random_examples
from ecomfs.retrieve import Retriever
from ecomfs.task import load_task
from ecomfs_eval import wilson

SIZES = (5, 8, 10, 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--embedder", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    card = load_task("customer_intent")
    folder = options.data / "banking77_en"
    everything = read_examples(folder / "train.csv", card, label_column="label")
    embedder = open_embedder(options.embedder)
    for shots in (5, 10):
        pool = read_examples(folder / f"train_{shots}shot.csv", card, label_column="label")
        shown = {fold(str(e.fields["text"])) for e in pool}
        fresh = [e for e in everything if fold(str(e.fields["text"])) not in shown]
        rows = random_examples(fresh, options.rows, options.seed)
        names = sorted({e.label for e in pool})
        texts = [str(e.fields["text"]) for e in pool]
        retriever = Retriever(pool, texts, embedder)
        experts = Experts(retriever, names)
        queries = retriever.queries([str(e.fields["text"]) for e in rows], neighbours=NEIGHBOURS)
        opinions = experts.opinions(queries)
        truth = np.array([names.index(e.label) for e in rows])
        print(f"{shots}-shot: {len(pool)} labelled, {len(names)} labels, {len(rows)} rows")
        for size in SIZES:
            label_shortlist = LabelShortlist.fit(experts, size)
            chosen = label_shortlist.choose(opinions)
            hits = sum(t in labels for t, labels in zip(truth, chosen, strict=True))
            seen = wilson(int(hits), len(rows))
            print(
                f"  {size:2} labels: recall {hits / len(rows):.3f} "
                f"[{seen.low:.3f}, {seen.high:.3f}], leave-one-out {label_shortlist.recall:.3f}"
            )


if __name__ == "__main__":
    main()
