"""Commands and files named in the documentation exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ecomfs.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "README.zh.md", "CONTRIBUTING.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
PAGES += sorted((ROOT / "docs" / "howto").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_exist(page: Path) -> None:
    text = "\n".join(
        re.findall(r"```.*?```|`[^`\n]+`", page.read_text(encoding="utf-8"), re.DOTALL)
    )
    verbs = {command.name for command in app.registered_commands}
    verbs |= {group.name for group in app.registered_groups}
    for verb in re.findall(r"^`?ecomfs ([a-z][a-z-]*)", text, re.MULTILINE):
        assert verb in verbs, verb
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    for target in re.findall(r"^`?make ([a-z-]+)", text, re.MULTILINE):
        assert target in targets, target


def test_architecture_names_files_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = "\n".join(re.findall(r"^\| `.*$", text, re.MULTILINE))
    names = re.findall(r"`((?:\w+/)*\w*(?:\.py|/))`", table)
    assert len(names) > 20
    for name in names:
        path = ROOT / name if name.startswith("eval/") else ROOT / "ecomfs" / name
        nested = list((ROOT / "ecomfs").glob(f"*/{name}"))
        assert path.exists() or nested, name
