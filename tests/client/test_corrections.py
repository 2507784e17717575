"""The client's methods for reviews, examples and runs, against a real service."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scripted import classifier, examples
from serving import serving

from ecomfs.client import Client
from ecomfs.errors import (
    ConfigError,
    ConflictError,
    InputError,
    MissingFileError,
    NotFoundError,
    OutputError,
    UnknownLabelError,
)
from ecomfs.estimators import FewShotClassifier
from ecomfs.serve import create_app


@pytest.fixture
def url() -> Iterator[str]:
    with serving(create_app({"reviews": classifier(), "other": classifier()})) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url, task="reviews") as client:
        yield client


def test_the_review_loop_with_tables(client: Client) -> None:
    sent = client.send_to_review(pd.DataFrame({"text": ["so so", "so so indeed"]}), ["a", "b"])
    assert list(sent["row_id"]) == ["a", "b"]
    waiting = client.reviews()
    assert set(waiting["text"]) == {"so so", "so so indeed"}
    first = waiting.iloc[0]
    done = client.decide(first["id"], "negative", version=first["version"], reviewer="wen")
    assert done["review"]["reviewer"] == "wen"
    assert done["predictions"][0]["similarity"] == 1
    assert first["example_id"] in set(client.examples(label="negative")["id"])
    with pytest.raises(ConflictError, match="decided already"):
        client.decide(first["id"], "positive")
    client.second_opinion(first["id"], "positive", reviewer="ana")
    assert client.undo(first["id"], version=3)["review"]["state"] == "open"
    assert client.skip(first["id"])["review"]["skips"] == 1
    assert client.reviews(state="decided").empty
    with pytest.raises(UnknownLabelError, match="postive"):
        client.decide(first["id"], "postive")
    with pytest.raises(NotFoundError, match="no review"):
        client.decide("0" * 32, "positive")


def test_examples_with_tables(client: Client) -> None:
    before = client.examples()
    rows = pd.DataFrame({"text": [f"new thing {i}" for i in range(3)]})
    version = client.add_examples(rows, ["positive"] * 3, ["n0", "n1", "n2"], note="from a table")
    assert len(client.examples()) == len(before) + 3
    assert client.relabel("n1", "negative", version=version) == version + 1
    with pytest.raises(ConflictError, match="was changed"):
        client.relabel("n1", "positive", version=version)
    assert client.retire(["n0", "n2"]) == version + 2
    assert list(client.history("n1")["label"]) == ["positive", "negative"]
    assert list(client.examples(q="NEW THING")["id"]) == ["n1"]
    with pytest.raises(InputError, match="2 labels"):
        client.add_examples(rows, ["positive"] * 2)


def test_a_task_of_its_own(client: Client, url: str) -> None:
    assert [t["name"] for t in client.tasks()] == ["reviews", "other"]
    assert client.classify(["fine"])[0].label in ("positive", "negative")
    assert client.explain("fine").prediction.label in ("positive", "negative")
    with Client(url) as unnamed, pytest.raises(InputError, match="several tasks"):
        unnamed.classify(["fine"])
    with Client(url, task="nope") as wrong, pytest.raises(NotFoundError, match="no task 'nope'"):
        wrong.classify(["fine"])


def test_a_table_is_scored_by_the_service(client: Client, tmp_path: Path) -> None:
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    pd.DataFrame({"id": ["x", "y"], "text": ["fine", "bad"]}).to_csv(source, index=False)
    seen: list[Any] = []
    run = client.score_table(source, output, on_progress=seen.append, every=0.05)
    assert run["counts"]["ok"] == 2
    assert list(pd.read_csv(output)["id"]) == ["x", "y"]
    assert seen
    pd.DataFrame({"price": [1]}).to_csv(source, index=False)
    with pytest.raises(InputError, match="no column"):
        client.score_table(source, output)


def test_the_asynchronous_methods(url: str) -> None:
    async def loop() -> tuple[str, int]:
        async with Client(url, task="reviews") as client:
            await client.asend_to_review(["so so"])
            [id_] = (await client.areviews())["id"]
            decided = await client.adecide(id_, "negative")
            await client.arelabel(decided["review"]["example_id"], "positive")
            with pytest.raises(ConflictError, match="relabelled"):
                await client.aundo(id_)
            return decided["review"]["state"], len(await client.aexamples(label="positive"))

    assert asyncio.run(loop()) == ("decided", 7)


def test_every_verb_has_an_asynchronous_form() -> None:
    verbs = {n for n, f in vars(Client).items() if inspect.isfunction(f) and n[0] != "_"}
    plain = {n for n in verbs if not inspect.iscoroutinefunction(getattr(Client, n))}
    assert {n for n in plain if f"a{n}" not in verbs} == set()
    for name in plain:
        one, two = getattr(Client, name), getattr(Client, f"a{name}")
        assert inspect.signature(one) == inspect.signature(two), name


def test_the_asynchronous_forms_do_the_same(url: str, tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("text\nfits well\ntorn\n", encoding="utf-8")

    async def main() -> None:
        async with Client(url, task="reviews") as client:
            assert (await client.apredict_proba([])).shape == (0, 2)
            assert [t["name"] for t in await client.atasks()] == ["reviews", "other"]
            assert (await client.ahealth())["task"] == "review_sentiment"
            [label] = await client.apredict(["fits well"])
            assert (await client.apredict_proba(["fits well"])).shape == (1, 2)
            assert (await client.aexplain("fits well")).prediction.label == label
            assert await client.aadd_examples(["a new one"], ["positive"], ["new"]) == 2
            assert list((await client.ahistory("new"))["label"]) == ["positive"]
            assert await client.aretire(["new"]) == 3
            review = (await client.asend_to_review(["so so"])).iloc[0]
            assert (await client.askip(review["id"]))["review"]["skips"] == 1
            await client.adecide(review["id"], "positive")
            second = await client.asecond_opinion(review["id"], "negative", reviewer="ana")
            assert second["review"]["second_label"] == "negative"
            done = await client.ascore_table(table, tmp_path / "scored.csv", every=0.05)
            assert done["state"] == "done"

    asyncio.run(main())


def test_places_in_errors_are_those_of_the_whole_list(client: Client) -> None:
    rows = [f"row {i}" for i in range(140)]
    labels = ["positive"] * 139 + ["postive"]
    with pytest.raises(UnknownLabelError, match=r"examples\[139\].*the first 128 examples are in"):
        client.add_examples(rows, labels)
    with pytest.raises(InputError, match=r"rows\[139\].*the first 128 rows are in the queue"):
        client.send_to_review([*rows[:139], ""])


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, " "])
def test_a_missing_label_never_becomes_a_label(client: Client, missing: Any) -> None:
    before = len(client.examples())
    with pytest.raises(InputError, match=r"y\[1\]: the label is missing"):
        client.add_examples(["fine a", "fine b"], ["positive", missing], new_label=True)
    assert len(client.examples()) == before


@pytest.mark.parametrize("name", ["out.xlsx", "out.parquet", "out.csv.gz", "no/out.csv"])
def test_a_result_that_cannot_be_written_as_named_is_refused_first(
    client: Client, tmp_path: Path, name: str
) -> None:
    source = tmp_path / "in.csv"
    source.write_text("text\nfine\n")
    with pytest.raises(OutputError, match=r"the service sends CSV|folder does not exist"):
        client.score_table(source, tmp_path / name, on_progress=lambda run: pytest.fail("sent"))
    assert not (tmp_path / name).exists()


def test_a_table_that_is_not_there(client: Client, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no-such"):
        client.score_table(tmp_path / "no-such.csv", tmp_path / "out.csv")


def test_an_explanation_has_the_experts_answers_and_no_reading_without_a_model() -> None:
    texts, labels = examples()
    clf = FewShotClassifier("review_sentiment", None, embedder="hashed", calibration_size=0)
    near = clf.fit(texts, labels).explain("it works")
    with serving(create_app(clf)) as url, Client(url) as client:
        far = client.explain("it works")
    assert set(far.experts) == set(near.experts) != set()
    for name, shares in near.experts.items():
        assert far.experts[name] == pytest.approx(shares)
    assert far.to_dict()["nearest"] == near.to_dict()["nearest"]
    assert far.posterior is near.posterior is None


def test_a_key_with_a_line_feed_at_its_end_is_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(create_app(classifier(), api_key="sesame\n")) as url:
        with Client(url, api_key="sesame\n") as client:
            assert client.health()["status"] == "ok"
        monkeypatch.setenv("ECOMFS_API_KEY", "sesame\r\n")
        with Client(url) as client:
            assert client.health()["status"] == "ok"
    with pytest.raises(ConfigError, match="control character"):
        Client(api_key="a\nb")
