"""The README runs as pasted, block by block, and the Chinese one has the same commands.

The default suite runs every block with a scripted engine in the place of the demo model, which the
slow tests read. The block that installs is only checked for what it names.
"""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from scripted import ScriptedEngine

from ecomfs.cli import run
from ecomfs.engine.shared import shared_engine

ROOT = Path(__file__).parents[2]
PAGES = {"en": "README.md", "zh": "README.zh.md"}


def page(language: str) -> str:
    return (ROOT / PAGES[language]).read_text(encoding="utf-8")


def blocks(language: str) -> list[tuple[str, str]]:
    """Kind and content of every block of code."""
    return re.findall(r"^```(\w*)\n(.*?)^```", page(language), re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    """The words of every command, but for those that install."""
    shell = [content for kind, content in blocks("en") if kind == "sh"][1:]
    return [shlex.split(line) for content in shell for line in content.splitlines()]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what a checkout has, to write results in."""
    for name in ("samples", "prompts", "requirements", "pyproject.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ECOMFS_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("ECOMFS_ENGINE", raising=False)
    return tmp_path


def test_both_languages_have_the_same_blocks_links_and_figures() -> None:
    def shape(language: str) -> list[Any]:
        text = page(language)
        code = [
            (kind, re.sub(r"  #.*$", "", content, flags=re.MULTILINE))
            for kind, content in blocks(language)
        ]
        links = re.findall(r"\]\(((?!README)[^)]+)\)", text)
        inline = sorted(re.findall(r"`[^`\n]+`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)))
        return [
            code,
            links,
            inline,
            re.findall(r"\d[\d., ]*\[[\d., ]+\]", text),
            len(re.findall(r"^#+ ", text, re.MULTILINE)),
        ]

    assert len(blocks("en")) > 5
    assert shape("en") == shape("zh")


def test_the_table_is_part_of_the_one_that_was_measured() -> None:
    measured = (ROOT / "docs" / "quality.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in page("en").splitlines() if re.match(r"\| .*\d\]", line)]
    assert len(rows) == 5
    for row in rows:
        name, *cells = [cell.strip() for cell in row.strip("|").split("|")]
        [whole] = [line for line in measured if line.startswith(f"| {name} |")]
        full = [cell.strip() for cell in whole.strip("|").split("|")]
        assert cells == [full[1], full[2], full[4], full[5]]


def test_the_install_block_names_existing_files(checkout: Path) -> None:
    lines = [shlex.split(line) for line in blocks("en")[0][1].splitlines()]
    assert [line[0] for line in lines] == ["python3", ".", "pip", "pip"]
    packages, itself = (line for line in lines if line[0] == "pip")
    assert "--require-hashes" in packages
    files = [Path(packages[n + 1]) for n, word in enumerate(packages) if word == "-r"]
    assert len(files) == 2
    for file in files:
        assert_hashed(file)
    assert {"--no-deps", "--no-build-isolation"} < set(itself)


def assert_hashed(file: Path) -> None:
    """Every package of a lock file has one version and its SHA-256."""
    entries = re.split(r"\n(?=\S)", file.read_text(encoding="utf-8").strip())
    assert entries
    for entry in entries:
        assert re.match(
            r"[\w.-]+(\[\w,]+\])?==\S+ .*--hash=sha256:[0-9a-f]{64}", entry, re.DOTALL
        ), entry


def test_the_make_targets_install_by_hash(checkout: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "LOCKED := $(BIN)/python -m pip install" in makefile
    assert "--require-hashes" in makefile
    used = set(re.findall(r"-r (requirements/\w+\.txt)", makefile))
    assert {"requirements/local.txt", "requirements/dev.txt", "requirements/model.txt"} <= used
    for file in used:
        assert_hashed(Path(file))
    by_version = re.findall(r"^\t\$\(PIP\) (.*)$", makefile, re.MULTILINE)
    assert by_version == ['-e ".[local,dev,transformers,postgres]"']


def ends_well(words: list[str]) -> None:
    if words[0] == "mkdir":
        Path(words[-1]).mkdir(parents=True, exist_ok=True)
        return
    assert words[0] == "ecomfs"
    assert run(words[1:]) == 0, shlex.join(words)


def walk(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Run every command; what each printed. Explanations of one text are numbered."""
    printed: dict[str, str] = {}
    for words in commands():
        ends_well(words)
        line, n = shlex.join(words), 1
        while f"{line} #{n}" in printed:
            n += 1
        printed[f"{line} #{n}"] = "".join(capsys.readouterr())
    return printed


def corrected(printed: dict[str, str]) -> list[str]:
    """The labels before and after the correction."""
    said = [text for line, text in printed.items() if line.startswith("ecomfs explain")]
    return [re.findall(r"^label: (\w+)", text, re.MULTILINE)[0] for text in said]


def test_every_command_runs_as_pasted(
    checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted: Any = ScriptedEngine()
    monkeypatch.setattr(
        "ecomfs.estimators.base.shared_engine",
        lambda spec: shared_engine("none") if spec == "none" else scripted,
    )
    monkeypatch.setattr("ecomfs.cli.init._model", lambda: "scripted")
    printed = walk(capsys)
    assert corrected(printed) == ["positive", "negative"]
    with (checkout / "out/reviews.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 64
    assert (checkout / "out/titles/commands.sh").is_file()


@pytest.mark.slow
def test_every_command_runs_with_the_demo_model(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = walk(capsys)
    assert corrected(printed) == ["positive", "negative"]
    scored = printed[next(line for line in printed if "reviews_model" in line)]
    assert "gguf:demo" in scored or "transformers:demo" in scored  # as the processor is


@pytest.mark.parametrize("language", [*PAGES])
def test_the_python_block_runs(language: str, capsys: pytest.CaptureFixture[str]) -> None:
    [code] = [content for kind, content in blocks(language) if kind == "python"]
    exec(compile(code, PAGES[language], "exec"), {})
    assert "['negative']" in capsys.readouterr().out
