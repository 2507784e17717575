"""Classifies a table with DSPy and labelled demonstrations, and writes a predictions file.

    PYTHON_WITH_DSPY eval/bench/peers/dspy_classify.py TEST.csv POOL.csv \
        --url http://127.0.0.1:8000/v1 --model NAME --rows 100 --shots 64 -o dspy.csv
    ecomfs eval score ours.csv dspy.csv --invalid

`dspy.LabeledFewShot` shows the same k labelled examples in every prompt. If DSPy cannot parse an
answer, the error text is written in place of the label.
"""

from __future__ import annotations

import argparse
import csv
import random
import time
from pathlib import Path

import dspy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("test", type=Path)
    parser.add_argument("pool", type=Path)
    parser.add_argument("--url", required=True, help="of an OpenAI-compatible server, with /v1")
    parser.add_argument("--model", required=True)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--shots", type=int, default=64)
    parser.add_argument("--k", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    pool, test = read(options.pool), read(options.test)[: options.rows]
    examples = [
        dspy.Example(text=row["text"], label=row["label"]).with_inputs("text")
        for row in draw.sample(pool, options.shots)
    ]
    labels = sorted({row["label"] for row in pool})
    dspy.configure(
        lm=dspy.LM(
            f"openai/{options.model}",
            api_base=options.url,
            api_key="none",
            cache=False,
            temperature=0.0,
            max_tokens=40,
            num_retries=0,
        )
    )
    question = dspy.Signature("text -> label", f"Answer with one of: {', '.join(labels)}.")
    few_shot = dspy.LabeledFewShot(k=options.k)
    program = few_shot.compile(dspy.Predict(question), trainset=examples)
    began = time.perf_counter()
    with options.output.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["id", "label", "predicted"])
        for row in test:
            try:
                said = str(program(text=row["text"]).label).strip()
            except Exception as error:
                said = f"error: {type(error).__name__}"
            out.writerow([row["id"], row["label"], said])
    print(f"{len(test) / (time.perf_counter() - began):.2f} rows/s, wrote {options.output}")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
