"""A callback for a package that may be imported later: once, after it is whole."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ecomfs.core.import_hooks import when_imported


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name = "late_package_of_a_test"
    (tmp_path / f"{name}.py").write_text("first = 1\nlast = 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    finders = list(sys.meta_path)
    yield name
    sys.modules.pop(name, None)
    sys.meta_path[:] = finders


def test_it_waits_for_the_import_and_sees_the_whole_module(package: str) -> None:
    seen: list[int] = []
    when_imported(package, lambda module: seen.append(module.last))
    assert seen == []
    module = importlib.import_module(package)
    assert seen == [2]
    importlib.import_module(package)
    importlib.reload(module)
    assert seen == [2]  # once


def test_a_module_that_is_there_is_called_at_once(package: str) -> None:
    module = importlib.import_module(package)
    seen: list[ModuleType] = []
    when_imported(package, seen.append)
    assert seen == [module]


def test_several_callbacks_are_all_called(package: str) -> None:
    seen: list[str] = []
    when_imported(package, lambda _: seen.append("a"))
    when_imported(package, lambda _: seen.append("b"))
    importlib.import_module(package)
    assert sorted(seen) == ["a", "b"]


def test_a_package_that_is_not_installed_stays_missing(package: str) -> None:
    seen: list[ModuleType] = []
    when_imported("no_such_package_of_a_test", seen.append)
    with pytest.raises(ModuleNotFoundError, match="no_such_package_of_a_test"):
        importlib.import_module("no_such_package_of_a_test")
    assert seen == []


def test_an_import_that_fails_is_tried_again(package: str, tmp_path: Path) -> None:
    path = tmp_path / f"{package}.py"
    whole = path.read_text()
    path.write_text("raise RuntimeError('half installed')  # longer than the module\n")
    seen: list[int] = []
    when_imported(package, lambda module: seen.append(module.last))
    with pytest.raises(RuntimeError, match="half installed"):
        importlib.import_module(package)
    path.write_text(whole)
    importlib.invalidate_caches()
    importlib.import_module(package)
    assert seen == [2]
