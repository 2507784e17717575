"""Every promise of SECURITY.md names tests that exist and are collected."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\[`(test_\w+)`\]\((tests/[\w/]+\.py)\)")


def promises() -> list[str]:
    """The list items under every heading "Promised"."""
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    sections = re.findall(r"^### Promised\n(.*?)(?=^##)", page, re.MULTILINE | re.DOTALL)
    assert len(sections) == page.count("### Promised") == page.count("### Not promised")
    return [line for section in sections for line in section.splitlines() if line.strip()]


def test_every_promise_is_one_item_with_its_tests() -> None:
    found = promises()
    assert len(found) >= 30
    for line in found:
        said, _, tests = line.partition(" (")
        assert line.startswith("- "), line
        assert said.endswith("."), line
        assert LINK.search(tests), f"no test: {line}"


def test_the_tests_of_the_promises_are_collected() -> None:
    named = {(path, test) for line in promises() for test, path in LINK.findall(line)}
    for path in sorted({path for path, _ in named}):
        assert Path(path).name.startswith("test_"), f"{path} is not collected"
        missing = {test for file, test in named if file == path} - collected(ROOT / path)
        assert not missing, f"{path}: {missing}"


def collected(path: Path) -> set[str]:
    """Names of the tests that pytest collects from a file: functions at its top, and methods of
    test classes there, but for those that are always skipped."""
    found: set[str] = set()
    tops = ast.parse(path.read_text(encoding="utf-8")).body
    for top in tops:
        own = top.body if isinstance(top, ast.ClassDef) and top.name.startswith("Test") else [top]
        for node in own:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                marks = [ast.unparse(mark) for mark in node.decorator_list]
                if not any(re.match(r"pytest\.mark\.(skip\b|xfail)", mark) for mark in marks):
                    found.add(node.name)
    return found
