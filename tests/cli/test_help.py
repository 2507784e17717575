"""The help of the commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from commands import commands

from ecomfs import __version__
from ecomfs.cli import EXIT_CODES, app, run
from ecomfs.cli.help_examples import EXAMPLES
from ecomfs.retrieve.strategies import STRATEGIES


def test_text_in_brackets_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(["score", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "[task's default]" in shown
    assert "column with unique ids [id]" in shown
    assert "p_LABEL" in shown


def test_score_says_how_to_get_guarantees(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["score", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Guarantees (--precision, …) are fitted in the same run" in shown
    assert shown.index("─ Guarantees ─") < shown.index("--max-loss")
    assert "for --profile" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("name", "command"), [*commands()], ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_option_is_explained_and_shown_as_it_is_written(name: str, command: Any) -> None:
    for parameter in command.params:
        shown = getattr(parameter, "help", None)
        if parameter.name != "help" and not str(parameter.metavar or "").startswith(
            ("ID", "LABEL")
        ):
            assert shown, f"{name} {parameter.name}"
        # The markup of the help takes <word> for HTML, and drops it.
        assert not re.search(r"<\w", shown or ""), f"{name} {parameter.name}"


def test_every_strategy_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert run(["score", "--help-all"]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if "--strategy" in line]
    assert [name for name in STRATEGIES if name not in line] == []


def test_a_newcomer_sees_where_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.index("Begin here") < shown.index(" demo ") < shown.index("Answer rows")
    names = [name for name, _ in commands()]
    assert {"score", "eval run", "prepare augment", "runs resume"} <= set(names)


@pytest.mark.parametrize("verb", ["score", "fit", "ab", "serve", "rank", "plan", "explain"])
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([verb, "--help"]) == 0
    assert f"ecomfs {verb}" in capsys.readouterr().out


def test_plan_takes_the_options_of_score() -> None:
    taken = {name: {p.name for p in command.params} for name, command in commands()}
    assert taken["score"] - taken["plan"] == {
        "restart",
        "keep_journal",
        "budget_seconds",
        "budget_tokens",
    }


# -- what every command has ------------------------------------------------------------------------

ROOT = Path(__file__).parents[2]
EVERY = [name for name, _ in commands()]
GROUPS = ["", "runs", "eval", "examples", "prepare"]


def options_page(name: str) -> dict[str, bool]:
    """Option → whether it is advanced, of the page that is made from the table of options and
    the command line (docs/options.md)."""
    text = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    own = text.partition(f"\n### `ecomfs {name}`\n")[2].partition("\n### ")[0]
    found = {
        flag: cells[0].endswith("+")
        for line in own.splitlines()
        if (cells := [cell.strip() for cell in line.split("|")[1:2]])
        for flag in re.findall(r"`(--?[\w-]+)`", cells[0])
    }
    for line in text.partition("## Further options")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 6 and re.search(rf"`{re.escape(name)}`", cells[5]):
            odd = re.search(r"\(`(--[\w-]+)`\)", cells[0])
            plain = re.findall(r"`(\w+)`", cells[0])[0].replace("_", "-")
            found[odd.group(1) if odd else f"--{plain}"] = cells[0].endswith("+")
    return found


def shown_by(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert run([*arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", EVERY)
def test_help_shows_the_usual_options_and_help_all_every_one(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/options.md, which is checked against the command line, is the snapshot."""
    monkeypatch.setenv("COLUMNS", "200")
    some, every = (shown_by(capsys, *name.split(), how) for how in ("-h", "--help-all"))
    assert shown_by(capsys, *name.split(), "--help") == some
    listed = [set(re.findall(r"(?<![\w-])--?\w[\w-]*", box(text))) for text in (some, every)]
    always = {"--json", "--quiet", "-q", "--help", "-h", "--help-all"}
    wanted = options_page(name)
    assert always <= listed[0]
    assert {flag for flag, advanced in wanted.items() if not advanced} <= listed[0]
    folded = {flag for flag, advanced in wanted.items() if advanced}
    assert not folded & listed[0]
    assert folded <= listed[1]
    assert (f"ecomfs {name} --help-all" in some) == bool(folded)
    assert "more options" not in every


def box(text: str) -> str:
    """The names of the options: the part of each row before its type."""
    rows = [line for line in text.splitlines() if line.startswith("│")]
    return "\n".join(re.split(r"<\w", row)[0] for row in rows)


@pytest.mark.parametrize("name", [*EVERY, *GROUPS])
def test_every_help_ends_with_two_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = shown_by(capsys, *name.split(), "--help")
    first, second = EXAMPLES[name]
    assert shown.index(" Examples\n") < shown.index(f"   {first}\n") < shown.index(second)


def test_the_examples_are_commands_whose_files_are_there() -> None:
    """A file that an example reads is among the samples, or another example writes it."""
    written = {"pool.db", "restored.db", "results/smoke", "results/quick"}
    read: dict[str, str] = {}
    lines = [line for pair in EXAMPLES.values() for line in pair]
    for line in lines:
        words = shlex.split(line)
        assert words.pop(0) == "ecomfs"
        command: Any = typer.main.get_command(app)
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        context = command.make_context(line, [*words], obj=None)  # every option is one, and fits
        for name, value in context.params.items():
            values = value if isinstance(value, list | tuple) else [value]
            paths = [str(v) for v in values if re.search(r"\.(csv|jsonl?|db)$", str(v))]
            outputs = name in ("output", "report", "log", "request_log")
            written.update(paths if outputs else [])
            read.update({} if outputs else dict.fromkeys(paths, line))
    assert {p: at for p, at in read.items() if p not in written and not (ROOT / p).exists()} == {}
    assert set(EXAMPLES) == {*EVERY, *GROUPS}


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown_by(capsys, "--version") == f"ecomfs {__version__}\n"


def test_no_colour_where_it_is_not_wanted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    colour = re.compile(r"\x1b\[[0-9;]*3[0-7]")
    assert colour.search(shown_by(capsys, "tasks", "review_sentiment")) is None
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in shown_by(capsys, "check", "--help")
    monkeypatch.setenv("NO_COLOR", "1")
    assert colour.search(shown_by(capsys, "check", "--help")) is None
    assert colour.search(shown_by(capsys, "tasks")) is None


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes_commands_options_and_values(
    shell: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def completed(line: str) -> str:
        words = line.split(" ")
        monkeypatch.setenv("_ECOMFS_COMPLETE", f"complete_{shell}")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
        monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
        capsys.readouterr()
        run([])
        return capsys.readouterr().out

    assert "explain" in completed("ecomfs ex")
    assert "--gold-column" in completed("ecomfs score --gold")
    assert "review_sentiment" in completed("ecomfs score --task rev")
    assert "top-words" in completed("ecomfs score --readout top")


def test_the_exit_codes_are_those_of_the_page() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for code, meaning in EXIT_CODES.items():
        assert f"| {code} | {meaning} |" in page
