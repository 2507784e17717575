from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ecomfs.cli.serve import serve
from ecomfs.client import Client
from ecomfs.errors import ConfigError, MissingFileError, TaskError
from ecomfs.types import Status

SAMPLES = Path(__file__).parents[2] / "samples" / "review_sentiment"


def test_an_open_address_without_a_key_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(ConfigError, match="ECOMFS_API_KEY"):
        serve(task="review_sentiment", examples=Path("no-such-pool.csv"), host="0.0.0.0", port=0)


def test_bad_pools_and_tasks_are_reported() -> None:
    with pytest.raises(MissingFileError, match=r"no-such-pool\.csv"):
        serve(task="review_sentiment", examples=Path("no-such-pool.csv"), port=0)
    with pytest.raises(TaskError, match="review_sentiment"):
        serve(task="review_sentimnt", examples=SAMPLES / "pool.csv", port=0)


@pytest.mark.model
def test_the_command_serves_until_it_is_interrupted() -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from ecomfs.cli import main; main()",
            "serve",
            "--task",
            "review_sentiment",
            "--examples",
            str(SAMPLES / "pool.csv"),
            "--engine",
            "gguf:demo",
            "--embedder",
            "hashed",
            "--k",
            "2",
            "--port",
            "0",
            "--calibration-size",
            "0",
        ],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "ECOMFS_API_KEY"},
    )
    try:
        assert process.stderr is not None
        found = None
        for line in process.stderr:
            found = re.search(r"serving at (http://127\.0\.0\.1:\d+)", line)
            if found:
                break
        assert found
        with Client(found[1], retries=10) as client:
            [prediction] = client.classify(["Lovely, fits well and arrived early"])
        assert prediction.status == Status.OK
        assert prediction.label in ("positive", "negative")
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors


@pytest.mark.model
def test_the_command_splits_traffic_and_the_log_is_compared(tmp_path: Path) -> None:
    log, gold = tmp_path / "traffic.jsonl", tmp_path / "gold.csv"
    command = [sys.executable, "-c", "from ecomfs.cli import main; main()"]
    process = subprocess.Popen(
        [
            *command,
            "serve",
            "--task",
            "review_sentiment",
            "--examples",
            str(SAMPLES / "pool.csv"),
            "--engine",
            "gguf:demo",
            "--embedder",
            "hashed",
            "--port",
            "0",
            "--calibration-size",
            "0",
            "--log",
            str(log),
            "--variant",
            "few: k=1",
            "--variant",
            "more: k=2 template=v2",
        ],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "ECOMFS_API_KEY"},
    )
    ids = [f"r{i}" for i in range(8)]
    told = ""
    try:
        assert process.stderr is not None
        for line in process.stderr:
            told += line
            if found := re.search(r"serving at (http://127\.0\.0\.1:\d+)", line):
                break
        assert "split: few 50%, more 50%; log " in told
        assert found
        with Client(found[1], retries=10) as client:
            answers = client.classify([f"Broke after {i} days" for i in range(8)], ids=ids)
        assert [a.id for a in answers] == ids
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    gold.write_text("id,label\n" + "".join(f"{i},negative\n" for i in ids), encoding="utf-8")
    done = subprocess.run(
        [*command, "ab", "--from-log", str(log), "--gold", str(gold)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Unpaired: each row was classified by one variant" in done.stdout
    assert "8 rows compared" in done.stdout


def test_a_configuration_is_served_without_a_model(tmp_path: Path) -> None:
    """``ecomfs serve FILE.yaml`` starts, answers for each of its tasks, and stops."""
    config = tmp_path / "ecomfs.yaml"
    config.write_text(
        "database: shop.db\nport: 0\n"
        "options: {engine: none, embedder: hashed, calibration_size: 0}\n"
        f"tasks:\n  reviews: {{task: review_sentiment, examples: {SAMPLES / 'pool.csv'}}}\n"
        f"  again: {{task: review_sentiment, examples: {SAMPLES / 'pool.csv'}}}\n",
        encoding="utf-8",
    )
    log = tmp_path / "requests.jsonl"
    command = [sys.executable, "-c", "from ecomfs.cli import main; main()", "serve", str(config)]
    command += ["--request-log", str(log)]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "ECOMFS_API_KEY"},
    )
    told = ""
    try:
        assert process.stderr is not None
        found = None
        for line in process.stderr:
            told += line
            if found := re.search(r"serving at (http://127\.0\.0\.1:\d+)", line):
                break
        assert found, told
        for task in ("reviews", "again"):
            with Client(found[1], task=task, retries=10) as client:
                [prediction] = client.classify(["Lovely, fits well and arrived early"])
                assert prediction.label in ("positive", "negative")
                first = client.examples().iloc[0]
                other = "negative" if first["label"] == "positive" else "positive"
                assert client.relabel(first["id"], other) == 2
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    assert (tmp_path / "shop.db").exists()
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    asked = [(line["method"], line["route"], line["status"]) for line in lines]
    assert asked.count(("POST", "/v1/classify", 200)) == 2
    assert "Lovely" not in log.read_text("utf-8")
