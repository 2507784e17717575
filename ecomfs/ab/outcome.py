"""The outcome of a comparison, used for the terminal, the JSON file and the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ecomfs.errors import ConfigError, OutputError
from ecomfs.evaluation.evaluate import ANSWERED
from ecomfs.evaluation.harness import harness_errors
from ecomfs.io import check_target, is_standard, write_text
from ecomfs_eval import Bootstrap, Predictions, get_metric, scores
from ecomfs_eval.compare import Comparisons
from ecomfs_eval.metrics import Score

METRICS = {
    "accuracy": "accuracy",
    "level_accuracy@1": "level 1",
    "f1_hierarchical": "hierarchical F1",
    "f1_micro": "micro-F1",
    "f1_macro": "macro-F1",
    "jaccard": "Jaccard",
    "roc_auc": "AUC",
    "log_loss": "log loss",
    "prompt_tokens": "prompt tokens",
}
"""Metrics shown on the terminal for each variant: metric → title."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """The outcome of a comparison of variants.

    Attributes:
        systems: predictions of each variant on the compared rows; the first is the one in use.
        result: the comparisons with the first variant.
        scores: variant → metric → score.
        notes: sentences on the comparison: variants, rows, and what was left out.
        about: the same as values for programs.
        texts: whether reports may contain rows and prompts.
        model_alone: the comparison of the models before fusion; ``None`` without experts.

    >>> from ecomfs_eval.compare import compare_many
    >>> gold = ["good", "bad"] * 20
    >>> a = Predictions.of(gold, ["good"] * 40, labels=["good", "bad"], name="A")
    >>> b = Predictions.of(gold, gold, labels=["good", "bad"], name="B")
    >>> found = Outcome((a, b), compare_many([a, b]), {"A": {}, "B": {}}, ("40 rows.",), {})
    >>> found.decision
    'B ...'
    >>> [system["rows"] for system in found.to_dict()["systems"]]
    [40, 40]
    """

    systems: tuple[Predictions, ...]
    result: Comparisons
    scores: Mapping[str, Mapping[str, Score]]
    notes: tuple[str, ...]
    about: Mapping[str, Any]
    texts: bool = True
    model_alone: Outcome | None = None

    @property
    def decision(self) -> str:
        """The decision in words; more detailed if there is only one comparison."""
        if len(self.result.comparisons) == 1:
            return self.result.comparisons[0].decision.text
        return self.result.decision

    def _repr_html_(self) -> str:
        """HTML for notebooks: the decision, the scores of every variant, the differences."""
        from ecomfs_eval.html_view import paragraph, table, view

        shown = [
            name
            for name in METRICS
            if any(
                name in found and found[name].value is not None for found in self.scores.values()
            )
        ]
        titles = ["variant", *(METRICS[name] for name in shown)]
        found = [
            [name, *(scores[m].text() if m in scores else None for m in shown)]
            for name, scores in self.scores.items()
        ]
        pairs = [c._repr_html_() for c in self.result.comparisons]
        notes = [paragraph(note, note=True) for note in self.notes]
        # A single comparison has its decision above its own table.
        title = self.decision if len(pairs) > 1 else f"{len(self.scores)} variants"
        return view(title, table(titles, found) if shown else "", *pairs, *notes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        systems = [
            {
                **self.about.get("variants", {}).get(s.name, {}),
                "name": s.name,
                "rows": len(s),
                "scores": {name: score.to_dict() for name, score in self.scores[s.name].items()},
            }
            for s in self.systems
        ]
        about = {k: v for k, v in self.about.items() if k != "variants"}
        found = {**about, "notes": list(self.notes), "systems": systems, **self.result.to_dict()}
        if self.model_alone is not None:
            alone = self.model_alone.to_dict()
            found["model_alone"] = {k: v for k, v in alone.items() if k not in about}
        return {**found, "decision": self.decision}


def outcome(
    systems: Sequence[Predictions],
    result: Comparisons,
    how: Bootstrap,
    *,
    notes: Sequence[str],
    about: Mapping[str, Any],
    texts: bool = True,
    model_alone: Outcome | None = None,
) -> Outcome:
    """The outcome, with the scores of every variant.

    Args:
        texts: ``False`` removes rows and prompts from the outcome.
    """
    if not texts:
        systems = [replace(s, extra={}) for s in systems]
        result = replace(
            result,
            comparisons=tuple(
                replace(c, flips=tuple(replace(f, extra_a={}, extra_b={}) for f in c.flips))
                for c in result.comparisons
            ),
        )
    abstains = any("abstained" in s.status for s in systems)
    metrics = {name: get_metric(name) for name in (METRICS | ANSWERED if abstains else METRICS)}
    kind = systems[0].kind
    # With one label per row, micro F1 equals accuracy.
    here = {
        name: metric
        for name, metric in metrics.items()
        if metric.applies(kind) and (name != "f1_micro" or kind == "sets")
    }
    found = {s.name: scores(here, s, how) for s in systems}
    return Outcome(tuple(systems), result, found, tuple(notes), about, texts, model_alone)


def check_targets(*paths: Path | None, folder: Path | None = None) -> None:
    """Refuse files that cannot be written, before the comparison starts.

    Args:
        *paths: files that will be written.
        folder: folder of the report; it need not exist.

    Raises:
        OutputError: a path is a folder, its folder does not exist, or ``folder`` is a file.

    >>> check_targets(Path("no-such-folder/ab.json"))
    Traceback (most recent call last):
    ecomfs.errors.OutputError: no-such-folder/ab.json: no folder no-such-folder (name a file in ...
    """
    if folder is not None and folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is not a folder", hint="name a folder for the report")
    for path in paths:
        if path is None:
            continue
        check_target(path)
        if path.is_dir() or not path.parent.is_dir():
            why = "is a folder" if path.is_dir() else f"no folder {path.parent}"
            raise OutputError(f"{path}: {why}", hint="name a file in a folder that exists")


def check_page(path: Path | None, language: str = "en") -> None:
    """Refuse a page whose suffix is unknown, or an unknown language.

    Args:
        path: the page; ``-`` is standard output.
        language: language of the report.

    Raises:
        ConfigError: none of ``.html``, ``.md`` and ``.json``; neither ``en`` nor ``zh``.

    >>> check_page(Path("ab.html"), "zh")
    >>> check_page(Path("ab.pdf"))
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: -o ab.pdf (name a .html, .md or .json file, or use --report FOLDER)
    """
    if language not in ("en", "zh"):
        raise ConfigError(f"report language {language!r}", hint="use en or zh")
    if path is None or is_standard(path):  # Markdown
        return
    if path.suffix.lower() not in (".html", ".htm", ".md", ".json"):
        hint = "name a .html, .md or .json file, or use --report FOLDER"
        raise ConfigError(f"-o {path}", hint=hint)


def write_pages(
    found: Outcome,
    *,
    page: Path | None = None,
    folder: Path | None = None,
    title: str,
    language: str = "en",
    how: Bootstrap,
    source: Mapping[str, str] | None = None,
) -> tuple[Path, ...]:
    """The report: one page (HTML or Markdown), or a folder with HTML, Markdown and JSON.

    Args:
        found: the comparison.
        page: one page: ``.html``, ``.md``, ``.json`` (the whole comparison), or ``-`` for Markdown
            on standard output.
        folder: folder of ``report.html``, ``report.md`` and ``report.json``.
        title: title of the report.
        language: ``en`` or ``zh``.
        how: resamples, level and seed of the intervals.
        source: provenance of the numbers (:func:`ecomfs.evaluation.source.numbers_source`).

    Returns:
        The written files; empty if neither page nor folder is given.

    Raises:
        OutputError: it cannot be written.

    >>> import tempfile
    >>> from ecomfs_eval.compare import compare_many
    >>> gold = ["good", "bad"] * 20
    >>> a, b = (Predictions.of(gold, gold, labels=["good", "bad"], name=name) for name in "AB")
    >>> found = Outcome((a, b), compare_many([a, b]), {"A": {}, "B": {}}, (), {})
    >>> page = Path(tempfile.mkdtemp()) / "ab.md"
    >>> [path.name for path in write_pages(found, page=page, title="A, B", how=Bootstrap())]
    ['ab.md']
    >>> page.read_text().splitlines()[0]
    '# A, B'
    """
    written: list[Path] = []
    if page is not None and page.suffix.lower() == ".json" and not is_standard(page):
        text = json.dumps(found.to_dict(), ensure_ascii=False, indent=2, allow_nan=False)
        write_text(page, text + "\n")
        written, page = [page], None
    if page is None and folder is None:
        return tuple(written)
    from ecomfs_eval.report import (
        build_report,
        render_html,
        render_markdown,
        write_figures,
        write_report,
    )

    report = build_report(
        found.systems,
        comparisons=found.result,
        title=title,
        language="zh" if language == "zh" else "en",
        how=how,
        notes=found.notes,
        source=source,
    )
    if page is not None:
        in_markdown = is_standard(page) or page.suffix.lower() == ".md"
        write_text(page, (render_markdown if in_markdown else render_html)(report))
        written.append(page)
    if folder is not None:
        with harness_errors():
            written += write_report(report, folder)
            written += write_figures(report, folder / "figures")
    return tuple(written)
