"""Every shipped task: its card, its templates on its sample pool, and the column names it finds."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from scripted import ScriptedEngine

from ecomfs.estimators import FewShotClassifier
from ecomfs.estimators.multilabel import MultiLabelClassifier
from ecomfs.task import FieldMap, LabelSpace, available_tasks, find_column, load_task
from ecomfs.types import Status

SAMPLES = Path(__file__).parents[2] / "samples"
POOLS = {name: SAMPLES / name / "pool.csv" for name in available_tasks()}
TESTS = {name: SAMPLES / name / "test.csv" for name in available_tasks()}
POOLS["same_product"] = TESTS["same_product"] = SAMPLES / "query_relevance" / "same_product.csv"

# Jinja, Python's words for nothing as a value, the answer probe.
LEFT_OVER = re.compile(r"\{[{%#]|[}%#]\}|[:：] ?(None|nan)\b|Undefined|[\ue000\ue001]")

# Header lines and labels of public datasets; the column ids are left out.
HEADERS = {
    "multicpr": (
        "query_relevance",
        "query,item_title,label,label_zh",
        {"query": "query", "product": "item_title"},
        ["match", "not match"],
    ),
    "multicpr zh": (
        "query_relevance",
        "query,item_title,label,label_zh",
        {"query": "query", "product": "item_title"},
        ["匹配", "不匹配"],
    ),
    "tallrec": (
        "product_preference",
        "liked,disliked,target,label",
        {"liked": "liked", "disliked": "disliked", "item": "target"},
        ["Yes", "No"],
    ),
    "shoppers": (
        "purchase_intent",
        "Administrative,Administrative_Duration,Informational,Informational_Duration,"
        "ProductRelated,ProductRelated_Duration,BounceRates,ExitRates,PageValues,SpecialDay,"
        "Month,OperatingSystems,Browser,Region,TrafficType,VisitorType,Weekend,label",
        {
            "account_pages": "Administrative",
            "account_seconds": "Administrative_Duration",
            "information_pages": "Informational",
            "information_seconds": "Informational_Duration",
            "product_pages": "ProductRelated",
            "product_seconds": "ProductRelated_Duration",
            "bounce_rate": "BounceRates",
            "exit_rate": "ExitRates",
            "page_value": "PageValues",
            "special_day": "SpecialDay",
            "month": "Month",
            "region": "Region",
            "traffic_source": "TrafficType",
            "returning_visitor": "VisitorType",
            "weekend": "Weekend",
        },
        ["purchase", "no purchase"],
    ),
    "eshop": (
        "next_category",
        "session_id,date,country,n_clicks_seen,clicks,last_category,is_switch,label",
        {"country": "country", "history": "clicks"},
        ["trousers", "skirts"],
    ),
    "rees46": (
        "next_category",
        "session_id,event_time,n_events_seen,events,last_category,is_switch,next_event_type,label",
        {"history": "events"},
        ["electronics.clocks", "kids.skates"],
    ),
    "campaign": (
        "ad_response",
        "customer_id,Year_Birth,Education,Marital_Status,Income,Kidhome,Teenhome,Dt_Customer,"
        "Recency,MntWines,MntFruits,MntMeatProducts,MntFishProducts,MntSweetProducts,"
        "MntGoldProds,NumDealsPurchases,NumWebPurchases,NumCatalogPurchases,NumStorePurchases,"
        "NumWebVisitsMonth,AcceptedCmp3,AcceptedCmp4,AcceptedCmp5,AcceptedCmp1,AcceptedCmp2,"
        "Complain,label",
        {
            "birth_year": "Year_Birth",
            "education": "Education",
            "marital_status": "Marital_Status",
            "income": "Income",
            "kids_at_home": "Kidhome",
            "teens_at_home": "Teenhome",
            "signup_date": "Dt_Customer",
            "days_since_last_order": "Recency",
            "spend_wine": "MntWines",
            "spend_fruit": "MntFruits",
            "spend_meat": "MntMeatProducts",
            "spend_fish": "MntFishProducts",
            "spend_sweets": "MntSweetProducts",
            "spend_gold": "MntGoldProds",
            "deal_purchases": "NumDealsPurchases",
            "web_purchases": "NumWebPurchases",
            "catalogue_purchases": "NumCatalogPurchases",
            "store_purchases": "NumStorePurchases",
            "web_visits_month": "NumWebVisitsMonth",
            "accepted_campaign_1": "AcceptedCmp1",
            "accepted_campaign_2": "AcceptedCmp2",
            "accepted_campaign_3": "AcceptedCmp3",
            "accepted_campaign_4": "AcceptedCmp4",
            "accepted_campaign_5": "AcceptedCmp5",
            "complained": "Complain",
        },
        ["accepted", "not accepted"],
    ),
    "bitext": (
        "customer_intent",
        "text,label,category,flags",
        {"text": "text"},
        ["track_order", "get_refund"],
    ),
    "banking77": (
        "customer_intent",
        "text,label",
        {"text": "text"},
        ["card_arrival", "reverted_card_payment?"],
    ),
}


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


SEVERAL = [task for task in available_tasks() if load_task(task).multi_label]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("task", SEVERAL)
def test_sample_pool_of_several_labels_makes_prompts(task: str, language: str) -> None:
    clf = MultiLabelClassifier(
        task,
        ScriptedEngine(),
        k=8,
        language=language,  # type: ignore[arg-type]
        embedder="hashed",
        calibration_size=0,
    ).fit(read(POOLS[task]))
    assert len(clf.classes_) == len(load_task(task).labels)
    for row in read(TESTS[task]).head(3)["text"]:
        found = clf.explain(row)
        assert found.prediction.status == Status.OK, found.prediction.error
        assert found.prompt is not None
        assert not LEFT_OVER.search(found.prompt)
        for label in load_task(task).labels:
            assert f"- {label.words.get(language)}" in found.prompt  # type: ignore[arg-type]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("task", [task for task in available_tasks() if task not in SEVERAL])
def test_sample_pool_makes_prompts(task: str, language: str) -> None:
    clf = FewShotClassifier(
        task,
        ScriptedEngine(),
        k=4,
        language=language,  # type: ignore[arg-type]
        embedder="hashed",
        calibration_size=0,
    ).fit(read(POOLS[task]))
    rows = read(TESTS[task]).head(6).drop(columns="label").to_dict("records")
    for row in rows:
        found = clf.explain(row)  # type: ignore[arg-type]
        assert found.prediction.status == Status.OK, found.prediction.error
        prompt = found.state.prompt
        assert prompt is not None
        assert len(prompt.demonstrations) == 4
        assert not LEFT_OVER.search(prompt.text)
        card = clf.pipeline_.card
        cue = card.label_title.get(language)  # type: ignore[arg-type]
        assert prompt.text.endswith(cue + (":" if language == "en" else "："))
        assert prompt.text.count(f"\n{cue}") >= 5
        for label in clf.pipeline_.space.labels:
            assert f"- {label.word(language)}" in prompt.text  # type: ignore[arg-type]


@pytest.mark.parametrize("task", available_tasks())
def test_sample_labels_and_columns_are_the_cards(task: str) -> None:
    card, frame = load_task(task), read(POOLS[task])
    labels = [own for cell in frame["label"] for own in card.labels_of(cell, "row")]
    space = LabelSpace.resolve(card, labels)
    assert len(space) == len(set(labels))
    mapped = FieldMap.resolve(card, list(frame.columns)).columns
    ids = {"id", "user"}  # that of the user is a field of some cards
    assert set(frame.columns) - {*ids, "label"} == set(mapped.values()) - ids


@pytest.mark.parametrize("task", available_tasks())
def test_labels_have_words_and_definitions_in_both_languages(task: str) -> None:
    han = re.compile(r"[\u4e00-\u9fff]")
    for label in load_task(task).labels:
        assert not han.search(label.words.en + label.definition.en)
        assert han.search(label.words.zh)
        assert han.search(label.definition.zh)
        assert "_" not in label.words.en


@pytest.mark.parametrize("task", available_tasks())
def test_other_texts_are_in_both_languages(task: str) -> None:
    card = load_task(task)
    texts = [card.title, card.description, card.label_title, card.instruction]
    for text in [*texts, *(field.title for field in card.fields)]:
        assert not re.search(r"[\u4e00-\u9fff]", text.en)
        assert re.search(r"[\u4e00-\u9fff]", text.zh), text


@pytest.mark.parametrize("name", HEADERS)
def test_headers_of_public_datasets_are_known(name: str) -> None:
    task, line, columns, labels = HEADERS[name]
    card, header = load_task(task), ["id", *line.split(",")]
    assert FieldMap.resolve(card, header).columns == columns
    assert find_column(header, None, card.label_column, name, "") == "label"
    assert sorted(LabelSpace.resolve(card, labels).names) == sorted(labels)


@pytest.mark.parametrize("column", ["is_switch", "next_event_type", "last_category"])
def test_columns_that_leak_the_label_are_no_fields(column: str) -> None:
    for task in available_tasks():
        for field in load_task(task).fields:
            assert column not in (field.name, *field.aliases)


def test_ten_intents_are_described() -> None:
    names = {label.name for label in load_task("customer_intent").labels}
    assert names == set(read(POOLS["customer_intent"])["label"])
