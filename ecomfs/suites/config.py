"""The YAML configuration of a suite: data sets, label budgets, seeds and options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ecomfs.core.messages import did_you_mean
from ecomfs.core.options import OPTIONS, SHARED, known_option
from ecomfs.errors import ConfigError, MissingFileError
from ecomfs.io import YAML_HINT, load_yaml, read_text, yaml_problem

Shots = int | Literal["all"]
"""Number of labelled examples of a cell; ``all``: the whole pool."""

SYSTEMS = (
    "ecomfs",
    "stages",
    "knn",
    "majority",
    "prior_random",
    "tfidf_logistic",
    "embedding_logistic",
    "gradient_boosting",
    "features_logistic",
    "features_boosting",
    "rule",
)
_HERE = Path(__file__).resolve().parent
# Installed, and in a checkout.
_SHIPPED = (_HERE.parent / "_eval" / "suites", _HERE.parents[1] / "eval" / "suites")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Table(_Strict):
    """A table of labelled rows.

    Attributes:
        file: path below the data folder.
        label: column of the label; ``None``: found by the names in the card.
        fields: card field → column, where the names differ.
        filter: column → value; only rows with all these values are used.
    """

    file: str
    label: str | None = None
    fields: dict[str, str] = Field(default_factory=dict)
    filter: dict[str, str | int | bool] = Field(default_factory=dict)


class TestRows(_Strict):
    """The test rows: the same ones for every label budget and seed.

    Attributes:
        file: a separate table; ``None``: rows are split off from the pool's table.
        label, fields, filter: as in :class:`Table`; by default those of the pool.
        rows: number of rows, drawn without replacement; ``None``: all of ``file``.
        seed: seed of the draw.
        group: column of the sampling unit (user, query, session): a table is split by whole groups,
            and intervals resample whole groups.
        disjoint: leave out rows whose fields equal those of a row of the pool's table; ``None``:
            yes for text tasks, no for tables, where rows may be equal by chance.
    """

    __test__ = False  # not a test class

    file: str | None = None
    label: str | None = None
    fields: dict[str, str] | None = None
    filter: dict[str, str | int | bool] | None = None
    rows: int | None = Field(default=None, ge=1)
    seed: int = 0
    group: str | None = None
    disjoint: bool | None = None

    @model_validator(mode="after")
    def _sized(self) -> Self:
        if self.file is None and self.rows is None:
            raise ValueError("give file, or rows to split off from the pool's table")
        if self.file is None and (self.label or self.fields is not None or self.filter is not None):
            raise ValueError("label, fields and filter need file")
        return self


class Published(_Strict):
    """A published result to show in the report.

    Attributes:
        system: name of the system.
        metric: name of a metric of the harness.
        value: value in the unit of the metric (shares from 0 to 1).
        shots: number of labelled examples, as text or a number.
        source: paper, table, page.
        note: differences from our protocol.
    """

    system: str
    metric: str = "accuracy"
    value: float
    shots: str | int = ""
    source: str
    note: str = ""


class Dataset(_Strict):
    """One data set of a suite.

    Attributes:
        name: unique in the suite; data sets of one ``series`` are averaged in the report (folds).
        task: name of a task, or its folder, relative to the suite's file.
        pool, test: sources of labelled examples and test rows.
        shots, seeds: replace those of the suite.
        draw: labelled examples are drawn ``even`` over the labels, like in few-shot benchmarks, or
            at ``random``, like in practice; then they have the label shares of the test rows, on
            which calibration relies if labels are skewed.
        options: options of the classifier, in addition to the suite's.
        published: published results on the same data.
        note: a note for readers of the results.

    >>> Dataset(name="shop", task="review_sentiment", pool={"file": "pool.csv"},
    ...         test={"file": "test.csv"}).draw
    'even'
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    series: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    task: str
    pool: Table
    test: TestRows
    shots: tuple[Shots, ...] | None = None
    seeds: tuple[int, ...] | None = None
    draw: Literal["even", "random"] = "even"
    options: dict[str, Any] = Field(default_factory=dict)
    published: tuple[Published, ...] = ()
    note: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _check_budget(self.shots, self.seeds)
        _check_options(self.options)
        return self


class Suite(_Strict):
    """Data sets, label budgets and seeds that are run once and reported together.

    Attributes:
        name, title, description: texts for people; ``name`` also names the results.
        datasets: the data sets.
        shots, seeds: label budgets and seeds; every data set is run with each pair.
        options: options of the classifiers (``engine``, ``embedder``, ``k``, …), which the tasks
            select.
        variants: name → further options; every cell is run with each. Empty: one unnamed variant.
        systems: systems that a cell scores; by default all that the data allow.
        metrics: metrics of the report; each must be defined for the labels of every task. Empty:
            the usual ones for each data set (:data:`ecomfs_eval.metrics.USUAL`).
        main: the system that others are compared with.

    >>> from ecomfs.suites import plan
    >>> shop = Dataset(name="shop", task="review_sentiment", pool={"file": "pool.csv"},
    ...                test={"file": "test.csv"})
    >>> suite = Suite(name="mine", datasets=(shop,), shots=(8, 32), seeds=(0, 1))
    >>> len(plan(suite))
    4
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    title: str = ""
    description: str = ""
    datasets: tuple[Dataset, ...] = Field(min_length=1)
    shots: tuple[Shots, ...] = (32,)
    seeds: tuple[int, ...] = (0,)
    options: dict[str, Any] = Field(default_factory=dict)
    variants: dict[str, dict[str, Any]] = Field(default_factory=dict)
    systems: tuple[str, ...] = SYSTEMS
    metrics: tuple[str, ...] = ()
    main: str = "ecomfs"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        from ecomfs_eval import METRICS as KNOWN

        _check_budget(self.shots, self.seeds)
        for options in (self.options, *self.variants.values()):
            _check_options(options)
        for name in self.variants:
            if not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"variant {name!r}: use letters, digits, - and _")
        names = [d.name for d in self.datasets]
        if len(set(names)) != len(names):
            twice = next(n for n in names if names.count(n) > 1)
            raise ValueError(f"two datasets are called {twice!r}")
        for system in self.systems:
            _known(system, SYSTEMS, "system")
        for metric in (*self.metrics, *(p.metric for d in self.datasets for p in d.published)):
            _known(metric, tuple(KNOWN), "metric")
        return self


def _check_budget(shots: tuple[Shots, ...] | None, seeds: tuple[int, ...] | None) -> None:
    for what, values in (("shots", shots), ("seeds", seeds)):
        if values is None:
            continue
        if not values or len(set(values)) != len(values):
            raise ValueError(f"{what}: one or more values, each once")
        if any(isinstance(v, int) and v < 0 for v in values):
            raise ValueError(f"{what}: 0 or more")


def _check_options(options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if name == "task" or name in SHARED:
            raise ValueError(f"options: {name} is set by the suite itself")
        try:
            OPTIONS[known_option(name, "options")].read(value, "options")
        except ConfigError as error:  # pydantic adds the key of the suite
            raise ValueError(str(error)) from error


def _known(name: str, known: tuple[str, ...], what: str) -> None:
    if name not in known:
        near = did_you_mean(name, known)
        raise ValueError(f"no {what} is called {name!r} ({near}known: {', '.join(known)})")


def available_suites() -> dict[str, Path]:
    """Name → file of the included suites.

    >>> all(load_suite(name).name == name for name in available_suites())
    True
    """
    found: dict[str, Path] = {}
    for root in _SHIPPED:
        for path in sorted(root.glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found


def find_suite(name: str | Path) -> Path:
    """The file of a suite, given by its path or the name of an included suite.

    Raises:
        MissingFileError: there is no such file or suite.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = available_suites()
    if str(name) in shipped:
        return shipped[str(name)]
    raise MissingFileError(
        f"{path}: no such suite file", hint=f"included suites: {', '.join(shipped) or 'none'}"
    )


def load_suite(name: str | Path) -> Suite:
    """Load a suite from its YAML file; folders of tasks are relative to it.

    Args:
        name: the file, or the name of an included suite.

    Raises:
        MissingFileError: no such file or suite.
        ConfigError: the file is not a suite; the message names the key.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "mine.yaml"
    >>> _ = path.write_text('''
    ... name: mine
    ... datasets:
    ...   - {name: shop, task: review_sentiment, pool: {file: a.csv}, test: {file: b.csv}}
    ... ''')
    >>> load_suite(path).datasets[0].name
    'shop'
    """
    path = find_suite(name)
    try:
        data = load_yaml(read_text(path))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {yaml_problem(error)}", hint=YAML_HINT) from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: not a suite", hint="see docs/evaluation.md")
    try:
        suite = Suite.model_validate(data)
    except ValidationError as error:
        raise _config_error(path, data, error) from error
    datasets = [
        d.model_copy(update={"task": str((path.parent / d.task).resolve())}) if "/" in d.task else d
        for d in suite.datasets
    ]
    return suite.model_copy(update={"datasets": tuple(datasets)})


def _config_error(path: Path, data: dict[str, Any], error: ValidationError) -> ConfigError:
    first = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    if where[:1] == ["datasets"] and len(where) > 1:
        entry = data["datasets"][int(where[1])]
        if isinstance(entry, dict) and "name" in entry:
            where[1] = str(entry["name"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "there is no such key"
    return ConfigError(f"{path}: {'.'.join(where) or 'suite'}: {message}")
