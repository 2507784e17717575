"""Where the numbers of a report come from: the last section names command, data and versions."""

from __future__ import annotations

import hashlib
import platform
import shlex
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ecomfs.evaluation.source import numbers_source


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"))))
def test_a_command_is_quoted_so_that_a_shell_reads_the_same_words(words: list[str]) -> None:
    command = ["eval", *(word.replace("://", "") for word in words)]
    assert shlex.split(numbers_source(command, [])["command"]) == ["ecomfs", *command]


def test_a_call_in_python_has_no_command() -> None:
    assert numbers_source([], [])["command"] == ""


def test_files_are_named_once_with_size_and_digest_and_others_by_name(tmp_path: Path) -> None:
    path = tmp_path / "pool.csv"
    path.write_bytes(b"text,label\nfits,yes\n" * 100)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    data = numbers_source([], [path, str(path), "hf:owner/reviews@test"])["data"]
    assert data == f"{path} (2,000 bytes, SHA-256 {digest}); hf:owner/reviews@test"


def test_passwords_stand_neither_in_the_command_nor_in_the_data() -> None:
    address = "sql:postgresql://me:secret@host/shop#SELECT 1"
    found = numbers_source(["eval", address], [address])
    assert "secret" not in found["command"] + found["data"]
    assert "me:***@host" in found["command"]
    assert "me:***@host" in found["data"]


def test_versions_are_those_that_are_installed() -> None:
    versions = numbers_source([], [])["versions"].split(", ")
    assert versions[-1] == f"Python {platform.python_version()}"
    assert any(version.startswith("numpy ") for version in versions)
