"""Profiles as files: errors for unusable ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest

from ecomfs.errors import ConfigError, MissingFileError, OutputError
from ecomfs.fit.profile_file import ProfileFile


class Notes(ProfileFile):
    format: Literal[2] = 2
    kind: Literal["notes"] = "notes"
    found: str


class Plain(ProfileFile):
    """Of one label a row: it says no kind."""

    format: Literal[3] = 3
    found: str


def test_a_profile_reads_back_in_any_language(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    Notes(found="好用").save(path)
    assert "好用" in path.read_text(encoding="utf-8")
    assert Notes.load(path) == Notes(found="好用")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"format": 3, "found": "x"}, "a profile of one label per row; this task has notes"),
        ({"format": 2, "kind": "trees", "found": "x"}, "a profile of a task with trees"),
        ({"format": 1, "kind": "notes", "found": "x"}, "of format 1; this version reads forma"),
        ({"format": 2, "kind": "notes", "found": "x", "more": 1}, "json: more: Extra inputs"),
        ({"format": 2, "kind": "notes"}, "json: found: Field required"),
        ([1], "a profile of one label per row"),
    ],
)
def test_an_unusable_profile_is_an_error_with_the_reason(
    tmp_path: Path, content: object, message: str
) -> None:
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=message) as caught:
        Notes.load(path)
    assert "ecomfs fit" in caught.value.hint


def test_text_that_is_no_json_is_no_profile(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text("{")
    with pytest.raises(ConfigError, match="not a profile: Invalid JSON"):
        Plain.load(path)
    with pytest.raises(MissingFileError, match="ecomfs fit"):
        Plain.load(tmp_path / "none.json")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        Plain(found="x").save(tmp_path / "none" / "profile.json")
