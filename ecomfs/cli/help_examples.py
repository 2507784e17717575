"""Two examples for the help of every command.

They run in a checkout, in the order of this table: each input file is among the samples, or an
earlier example writes it. A test checks this.
"""

from __future__ import annotations

from collections.abc import Mapping

_REVIEWS = "samples/review_sentiment"
_TITLES = "samples/product_category"
_LIKES = "samples/product_preference"
_SENTIMENT = f"-t review_sentiment -e {_REVIEWS}/pool.csv"
_SCORED = f"{_REVIEWS}/test.csv {_SENTIMENT}"

EXAMPLES: Mapping[str, tuple[str, str]] = {
    "": ("ecomfs demo", f"ecomfs score {_SCORED} -o scored.csv"),
    "demo": ("ecomfs demo", "ecomfs demo --engine gguf:demo --k 8 -o results"),
    "init": (
        f"ecomfs init {_REVIEWS}/pool.csv --yes --engine none -o first",
        f"ecomfs init {_TITLES}/pool.csv --shots 40 --test-rows 20",
    ),
    "tasks": ("ecomfs tasks", "ecomfs tasks review_sentiment --json"),
    "models": ("ecomfs models", "ecomfs models --json"),
    "models get": (
        "ecomfs models get qwen2.5-coder-0.5b",
        "ecomfs models get Qwen/Qwen2.5-1.5B-Instruct-GGUF:q4_k_m",
    ),
    "score": (
        f"ecomfs score {_SCORED} -o scored.csv --probabilities",
        f"ecomfs score {_SCORED} --gold-column label --k 0 -o zero.csv --json",
    ),
    "plan": (f"ecomfs plan {_SCORED}", f"ecomfs plan {_SCORED} --price 0.15 --probe 4"),
    "explain": (
        f'ecomfs explain "broke after a day" {_SENTIMENT}',
        f"ecomfs explain {_REVIEWS}/test.csv --row 2 {_SENTIMENT} --influence",
    ),
    "rank": (
        f"ecomfs rank -t product_preference -e {_LIKES}/pool.csv --user {_LIKES}/user.csv "
        f"--items {_LIKES}/catalogue.csv -o ranked.csv --top 5",
        f"ecomfs rank {_LIKES}/test.csv -t product_preference -e {_LIKES}/pool.csv --group user "
        "--gold-column label -o pairs.csv",
    ),
    "serve": (
        f"ecomfs serve {_SENTIMENT} --request-log requests.jsonl",
        f'ecomfs serve {_SENTIMENT} --variant "A: template=v1" --variant "B: template=v2" '
        "--log traffic.jsonl",
    ),
    "runs": ("ecomfs runs list", "ecomfs runs resume last"),
    "runs list": ("ecomfs runs list", "ecomfs runs list --last 5 --json"),
    "runs show": ("ecomfs runs show last", "ecomfs runs show last --json"),
    "runs compare": (
        "ecomfs runs compare 20261129 last",
        "ecomfs runs compare 20261129 last --json",
    ),
    "runs resume": ("ecomfs runs resume last", "ecomfs runs resume last --print"),
    "backup": (
        "ecomfs backup pool.db pool-2026-05-01.db",
        "ecomfs backup pool.db pool-2026-05-02.db --json",
    ),
    "restore": (
        "ecomfs restore pool-2026-05-01.db restored.db",
        "ecomfs restore pool-2026-05-02.db restored.db --replace",
    ),
    "key": (
        "ecomfs key storefront --scope classify",
        "ecomfs key wen --scope label --tenant north",
    ),
    "fit": (
        f"ecomfs fit {_SENTIMENT} -o profile.json",
        f"ecomfs fit {_SENTIMENT} --precision 0.9 --tune 64 -o precise.json",
    ),
    "ab": (
        f"ecomfs ab v1 v2 -t product_category -e {_TITLES}/pool.csv --data {_TITLES}/test.csv "
        "--report report",
        f"ecomfs ab -t product_category -e {_TITLES}/pool.csv --data {_TITLES}/test.csv "
        '--variant "four: k=4" --variant "eight: k=8"',
    ),
    "eval": (
        "ecomfs eval score scored.csv --gold-column label",
        "ecomfs eval run smoke --limit 20 -o results/smoke",
    ),
    "eval score": (
        "ecomfs eval score scored.csv --gold-column label",
        "ecomfs eval score scored.csv zero.csv --gold-column label --report report",
    ),
    "eval list": ("ecomfs eval list", "ecomfs eval list --json"),
    "eval run": (
        "ecomfs eval run smoke -o results/smoke",
        "ecomfs eval run smoke --limit 20 --seed 0 -o results/quick",
    ),
    "eval report": (
        "ecomfs eval report results/smoke",
        "ecomfs eval report results/smoke --report-language zh -o report-zh",
    ),
    "eval compare": (
        "ecomfs eval compare results/smoke results/quick",
        "ecomfs eval compare results/smoke results/quick --metric accuracy --json",
    ),
    "suggest": (
        f"ecomfs suggest {_REVIEWS}/test.csv {_SENTIMENT} -n 20 -o to_label.csv",
        f"ecomfs suggest {_REVIEWS}/test.csv -t review_sentiment -n 20 -o first.csv",
    ),
    "examples": (
        f"ecomfs examples import {_REVIEWS}/pool.csv -p pool.db -t review_sentiment",
        "ecomfs examples relabel rs-p002 positive -p pool.db",
    ),
    "examples import": (
        f"ecomfs examples import {_REVIEWS}/pool.csv -p pool.db -t review_sentiment",
        f"ecomfs examples import {_REVIEWS}/test.csv -p pool.db -t review_sentiment --replace",
    ),
    "examples add": (
        'ecomfs examples add "Works as it should" -l positive --id mine -p pool.db '
        "-t review_sentiment",
        'ecomfs examples add --set "text=Never arrived" -l negative -p pool.db -t review_sentiment',
    ),
    "examples relabel": (
        "ecomfs examples relabel mine negative -p pool.db",
        'ecomfs examples relabel rs-p002 positive -p pool.db --note "read again"',
    ),
    "examples retire": (
        "ecomfs examples retire mine -p pool.db",
        'ecomfs examples retire rs-p001 rs-p002 -p pool.db --note "not ours"',
    ),
    "examples history": (
        "ecomfs examples history rs-p002 -p pool.db",
        "ecomfs examples history rs-p002 -p pool.db --json",
    ),
    "examples audit": (
        "ecomfs examples audit -p pool.db -t review_sentiment",
        "ecomfs examples audit -p pool.db -t review_sentiment --cap 0.3 --json",
    ),
    "examples export": (
        "ecomfs examples export pool.csv -p pool.db",
        "ecomfs examples export old.csv -p pool.db --version 1",
    ),
    "examples stats": (
        "ecomfs examples stats -p pool.db",
        "ecomfs examples stats -p pool.db --last 3 --json",
    ),
    "prepare": (
        f"ecomfs prepare clean {_REVIEWS}/pool.csv -o clean.csv --text-column text",
        f"ecomfs prepare augment {_REVIEWS}/pool.csv -t review_sentiment -o more.csv --target 40",
    ),
    "prepare clean": (
        f"ecomfs prepare clean {_REVIEWS}/pool.csv -o clean.csv --text-column text",
        f"ecomfs prepare clean {_REVIEWS}/pool.csv -o clean.csv --text-column text "
        f"--label-column label --test {_REVIEWS}/test.csv",
    ),
    "prepare augment": (
        f"ecomfs prepare augment {_REVIEWS}/pool.csv -t review_sentiment -o more.csv --target 40",
        f"ecomfs prepare augment {_REVIEWS}/pool.csv -t review_sentiment -o more.csv --share 0.5 "
        "--label negative",
    ),
    "new-task": (
        f"ecomfs new-task my_categories --from {_TITLES}/pool.csv --label-column label",
        f"ecomfs new-task my_reviews --from {_REVIEWS}/pool.csv --label-column label "
        "--column text --language en",
    ),
    "lint-task": (
        "ecomfs lint-task review_sentiment",
        f"ecomfs lint-task review_sentiment -e {_REVIEWS}/pool.csv",
    ),
    "check": ("ecomfs check", "ecomfs check --engine vllm:http://127.0.0.1:8000"),
    "up": ("ecomfs up --model demo", "ecomfs up --model Qwen/Qwen3-8B --port 8000 --device gpu"),
}
