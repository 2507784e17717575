"""``ecomfs.yaml``: valid and invalid configurations."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from scripted import classifier

from ecomfs.cli import run
from ecomfs.errors import ConfigError, MissingFileError
from ecomfs.serve import create_app
from ecomfs.serve.config import read_config
from ecomfs.serve.keys import ApiKey, Keys, digest_of

GOOD = """
database: shop.db
options: {engine: "gguf:demo", k: 4}
keys: [{name: shop, hash: HASH, scopes: [classify], tasks: [reviews], per_minute: 60}]
review_below: 0.8
tasks:
  reviews: {task: review_sentiment, examples: labelled.csv, options: {k: 2}}
  titles: {task: product_category, pool: shelf}
""".replace("HASH", digest_of("secret"))


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "ecomfs.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_configuration_is_read_and_paths_begin_at_its_folder(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, GOOD))
    assert config.database == str(tmp_path / "shop.db")
    assert config.tasks["reviews"].tables == [str(tmp_path / "labelled.csv")]
    assert config.options_of("reviews") == {"engine": "gguf:demo", "k": 2}
    assert config.options_of("titles")["k"] == 4
    assert config.keys[0].key.tasks == {"reviews"}


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("database: shop.db", "", r"ecomfs\.yaml: database: Field required"),
        ("scopes: [classify]", "scopes: [root]", r"keys\.0\.scopes\.0: Input should be 'classify'"),
        ("tasks: [reviews]", "tasks: [shoes]", r"keys: no task 'shoes' \(tasks are: reviews"),
        ("{k: 2}", "{kk: 2}", r"tasks\.reviews\.options: no option 'kk' \(did you mean 'k'"),
        ("{k: 2}", "{k: -2}", r"k = -2 \(k is a whole number, 0 or more"),
        ("review_below: 0.8", "review_below: 80", r"review_below: Input should be less than 1"),
        ("pool: shelf", "pol: shelf", r"tasks\.titles\.pol: Extra inputs"),
        ("tasks:", "tasks: {", r"not valid YAML: line \d+, column \d+"),
        ("titles: {", "reviews: {", r"line 8, column 3: 'reviews' is given twice"),
    ],
)
def test_configuration_errors_name_the_place(tmp_path: Path, old: str, new: str, why: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError, match=why):
        read_config(written(tmp_path, GOOD.replace(old, new, 1)))


def test_paths_in_options_begin_at_the_folder_of_the_file(tmp_path: Path) -> None:
    text = GOOD.replace("k: 4}", "profile: fit.json, template: v1}")
    text = text.replace("{k: 2}", "{template: {en: mine.jinja, zh: v1}}")
    config = read_config(written(tmp_path, text))
    assert config.options_of("titles")["profile"] == str(tmp_path / "fit.json")
    assert config.options_of("titles")["template"] == "v1"
    mine = {"en": str(tmp_path / "mine.jinja"), "zh": "v1"}
    assert config.options_of("reviews")["template"] == mine


def test_two_keys_with_one_hash_and_a_second_admin_are_refused() -> None:
    one = ApiKey("shop", digest_of("secret"), frozenset(["classify"]))
    two = ApiKey("wen", digest_of("secret"), frozenset(["label"]))
    with pytest.raises(ConfigError, match="'shop' and 'wen' have the same hash"):
        Keys([one, two])
    admin = ApiKey("admin", digest_of("other"), frozenset(["admin"]))
    with pytest.raises(ConfigError, match="ECOMFS_API_KEY have this name"):
        create_app(classifier(), api_key="secret", keys=[admin])
    with pytest.raises(ConfigError, match="the API key is blank"):
        create_app(classifier(), api_key=" \n")


@pytest.mark.parametrize("name", ["007", "on", "a: b", "王"])
def test_the_lines_of_a_new_key_are_read_back(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["key", name, "--tenant", "no"]) == 0
    lines = capsys.readouterr().out.partition("\nkeys:")[2]
    text = re.sub(r"keys: \[.*\]", f"keys:{lines}", GOOD, count=1)
    [key] = read_config(written(tmp_path, text)).keys
    assert (key.name, key.tenant) == (name, "no")


def test_no_file_no_tasks(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="No such file"):
        read_config(tmp_path / "nothing.yaml")
    with pytest.raises(ConfigError, match="no tasks"):
        read_config(written(tmp_path, "[1]"))


def test_flags_beside_a_file_and_missing_flags(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", str(written(tmp_path, GOOD)), "--task", "review_sentiment"]) == 2
    assert "--task together with" in capsys.readouterr().err
    assert run(["serve", "--task", "review_sentiment"]) == 2
    assert "--examples is missing" in capsys.readouterr().err


def test_a_new_key_is_shown_once_and_its_hash_is_for_the_file(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["key", "wen", "--scope", "label"]) == 0
    text = capsys.readouterr().out
    found = re.search(r"ecomfs_[\w-]{43}", text)
    assert found
    assert f"hash: {digest_of(found[0])}" in text
    assert "scopes: [label]" in text
    assert run(["key", "wen", "--scope", "everything"]) == 2
    assert "unknown scope 'everything'" in capsys.readouterr().err
