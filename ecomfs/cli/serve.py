"""``ecomfs serve``: the classifier over HTTP."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from ecomfs.cli import options as o
from ecomfs.cli.classifier import check_guarantees, classifier_of_task, print_notes
from ecomfs.cli.json_result import print_result, set_result
from ecomfs.cli.labelled import MaybeLabelled
from ecomfs.cli.progress import show
from ecomfs.core.progress import CHECKING, LOADING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ecomfs.ab import Variant
    from ecomfs.core.progress import Phases
    from ecomfs.engine.protocol import Engine
    from ecomfs.estimators import FewShotClassifier
    from ecomfs.pool import Pool
    from ecomfs.serve import SplitService
    from ecomfs.serve.config import ServiceConfig
    from ecomfs.serve.server import Tls
    from ecomfs.serve.split import Compared
    from ecomfs.task import TaskCard
    from ecomfs.traffic import TrafficLog, TrafficRecord
    from ecomfs.types import Example


HOST, PORT, DEADLINE = "127.0.0.1", 8080, 60.0


@dataclass(frozen=True, slots=True)
class _Labelled(MaybeLabelled):
    """The task and its labelled examples, unless a configuration names them."""

    # A configuration names the task of each classifier; without one the verb asks for --task.
    task: Annotated[
        str,
        typer.Option(
            "--task",
            "-t",
            help="task name or folder (ecomfs tasks), unless there is an ecomfs.yaml",
            rich_help_panel=o.FIRST,
            show_default=False,
        ),
    ] = None  # type: ignore[assignment]


@o.flatten_options
def serve(
    labelled: _Labelled,
    settings: o.Answering,
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="[ECOMFS.yaml]",
            help="tasks, pools, engine and keys of a service with several tasks (docs/serve.md)",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(help="address; beyond this machine a key is needed [127.0.0.1]"),
    ] = None,
    port: Annotated[int | None, typer.Option(help="port; 0 takes a free one [8080]")] = None,
    api_key: Annotated[
        str | None,
        typer.Option(help="key callers must send", envvar="ECOMFS_API_KEY", show_default=False),
    ] = None,
    id_column: o.IdColumn = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            "--variant",
            help='split the traffic: "name: weight=1 template=v2 …", any option of the '
            "classifier; or a .yaml file (two or more; needs --log)",
        ),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(help="with --variant: append assignments and predictions to this file"),
    ] = None,
    split_seed: Annotated[
        int,
        typer.Option(
            hidden=True, help="of the assignment of ids to variants; change it per experiment"
        ),
    ] = 0,
    review_below: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="queue predictions with less confidence for review [none are]"
        ),
    ] = None,
    deadline: Annotated[
        float | None, typer.Option(min=0.1, help="seconds that predictions may take [60]")
    ] = None,
    tls_certificate: Annotated[
        Path | None,
        typer.Option(help="PEM file: serve https with this certificate (needs --tls-key)"),
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file: its private key")] = None,
    request_log: Annotated[
        Path | None,
        typer.Option(
            help="append a line of JSON per request to this file, without text of rows; -: to "
            "standard error"
        ),
    ] = None,
) -> None:
    """Serve classifiers over HTTP, and the pages where people correct them, until Ctrl-C."""
    phases = show(CHECKING)
    from ecomfs.cli.present import note
    from ecomfs.core import event_loop
    from ecomfs.errors import ConfigError
    from ecomfs.traffic import TrafficLog

    try:
        from ecomfs.serve import create_app, server
    except ImportError as error:
        raise ConfigError(
            f"the web server is not installed: {error}", hint="pip install 'ecomfs[serve]'"
        ) from error
    if bool(variant) != (log is not None):
        given, missing = ("--variant", "--log") if variant else ("--log", "--variant")
        raise ConfigError(
            f"{given} without {missing}",
            hint="a split needs a log, and only a split has one",
        )
    if config is not None:
        beside = {"--task": labelled.task, "--examples": labelled.examples, "--variant": variant}
        for flag, value in beside.items():
            if value:
                raise ConfigError(f"{flag} beside {config}", hint="put it into the file")
        at = _Address(host, port, api_key, _tls(tls_certificate, tls_key))
        _configured(config, settings, at, review_below, deadline, request_log, phases)
        return
    if not labelled.task or not labelled.sources:
        flag = "--examples" if labelled.task else "--task"
        raise ConfigError(
            f"{flag} is missing", hint="ecomfs serve --task TASK --examples POOL, or ECOMFS.yaml"
        )
    # An address or a certificate that is refused is found before the model is loaded.
    tls = _tls(tls_certificate, tls_key)
    sock = server.bind(host or HOST, PORT if port is None else port, api_key=api_key)
    with sock, ExitStack() as stack:
        _log_requests(request_log, stack)
        check_guarantees(settings, labelled)
        card, pool = labelled.load(id_column=id_column)
        task = labelled.task
        options = {**settings, "seed": labelled.seed}
        served: FewShotClassifier | SplitService
        variants = _variants(variant, options, card, task) if variant else []
        traffic = None if log is None else stack.enter_context(closing(TrafficLog(log)))
        examples = stack.enter_context(labelled.to_fit(pool))
        if traffic is None:
            # --field is of the table: a request has the task's names.
            phases(LOADING)
            of_task = classifier_of_task(replace(labelled, field=None), settings)
            clf: Any = of_task.fit(examples, progress=phases)
            phases.clear()
            served, engines, split = clf, [clf.engine_], ""
            print_notes(clf, settings)
        else:
            served, engines, split = _split(
                variants, settings, options, task, examples, traffic, split_seed, phases
            )
        live = (
            ""
            if isinstance(examples, list)
            else "\nchanges of the pool count from the next request"
        )
        open_to = None if api_key else server.LOOPBACK_HOSTS
        app = create_app(
            served,
            api_key=api_key,
            allowed_hosts=open_to,
            review_below=review_below,
            deadline=deadline or DEADLINE,
            runs_folder=_runs_folder(labelled.sources[0]) if live else None,
            compare=compared,
        )
        url = server.url_of(sock, "http" if tls is None else "https")
        kept = "" if live else "\ndecisions are kept until it stops: give --examples FILE.db"
        text = (
            f"{task} · {len(pool)} labelled examples · "
            f"{', '.join(dict.fromkeys(e.spec for e in engines))}{split}\n"
            f"serving at {url} (try {url}/docs), stop with Ctrl-C{live}{kept}"
        )
        text += f"\nready after {phases.text()}"
        set_result(
            {
                "url": url,
                "task": task,
                "examples": len(pool),
                "engines": [*dict.fromkeys(e.spec for e in engines)],
                "log": log,
            }
        )

        def on_ready() -> None:
            note(text)
            print_result()

        try:
            server.run(
                app,
                sock,
                on_ready=on_ready,
                tls=tls,
                end_within=server.END_SECONDS,
            )
        finally:
            for each in {id(e): e for e in engines}.values():
                event_loop.run(each.aclose())


@dataclass(frozen=True, slots=True)
class _Address:
    """Where to serve, as far as the command line says."""

    host: str | None
    port: int | None
    api_key: str | None
    tls: Tls | None


def _tls(certificate: Path | None, key: Path | None) -> Tls | None:
    """The certificate of a service that speaks https itself."""
    from ecomfs.errors import ConfigError
    from ecomfs.serve.server import Tls

    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        given, missing = (
            ("--tls-key", "--tls-certificate") if key else ("--tls-certificate", "--tls-key")
        )
        raise ConfigError(f"{given} without {missing}", hint="https needs both, as PEM files")
    return Tls(certificate, key)


def _configured(
    path: Path,
    settings: o.Settings,
    at: _Address,
    review_below: float | None,
    deadline: float | None,
    request_log: Path | None,
    phases: Phases,
) -> None:
    """Serve what a file describes. Options of the command line count for tasks that do not name
    them."""
    from ecomfs.cli.present import note
    from ecomfs.core import event_loop
    from ecomfs.core.options import DEFAULTS
    from ecomfs.serve import create_app, server
    from ecomfs.serve.config import read_config
    from ecomfs.serve.keys import key_of

    config = read_config(path)
    keys = [each.key for each in config.keys]
    sock = server.bind(
        at.host or config.host,
        config.port if at.port is None else at.port,
        api_key=at.api_key or (keys[0].digest if keys else None),
    )
    tls = at.tls or _tls(
        *(None if file is None else Path(file) for file in (config.tls_certificate, config.tls_key))
    )
    changed = {n: v for n, v in settings.items() if v != DEFAULTS[n]}
    with sock, ExitStack() as stack:
        _log_requests(request_log, stack)
        fitted = {
            tenant: {name: _fitted(config, name, changed, stack, phases, tenant) for name in names}
            for tenant, names in config.tenants(operator=bool(at.api_key)).items()
        }
        served = {key_of(t, n): clf for t, mine in fitted.items() for n, clf in mine.items()}
        phases.clear()
        below = {
            name: review_below or task.review_below or config.review_below
            for name, task in config.tasks.items()
        }
        app = create_app(
            fitted.pop("", {}),
            tenants=fitted,
            api_key=at.api_key,
            keys=keys,
            allowed_hosts=None if at.api_key or keys else server.LOOPBACK_HOSTS,
            review_below=below,
            deadline=deadline or config.deadline,
            runs_folder=config.runs or _runs_folder(config.database),
        )
        url = server.url_of(sock, "http" if tls is None else "https")
        lines = [
            f"{name} · {clf.pool_.stats().examples} labelled examples · {clf.engine_.spec}"
            for name, clf in served.items()
        ]
        lines += [f"serving at {url} (try {url}/docs), stop with Ctrl-C"]
        lines += ["changes of a pool count from the next request", f"ready after {phases.text()}"]
        served_tasks = {n: clf.pool_.stats().examples for n, clf in served.items()}
        set_result({"url": url, "tasks": served_tasks, "database": config.database})

        def on_ready() -> None:
            note("\n".join(lines))
            print_result()

        try:
            server.run(app, sock, on_ready=on_ready, tls=tls, end_within=server.END_SECONDS)
        finally:
            for each in {id(c.engine_): c.engine_ for c in served.values()}.values():
                event_loop.run(each.aclose())


def _log_requests(path: Path | None, stack: ExitStack) -> None:
    """One line of JSON per request until the stack is left."""
    import logging
    from logging.handlers import WatchedFileHandler

    from ecomfs.errors import OutputError
    from ecomfs.serve.middleware import REQUESTS

    if path is None:
        return
    handler: logging.Handler = logging.StreamHandler()
    if str(path) != "-":
        try:
            handler = WatchedFileHandler(path, encoding="utf-8")  # a file that is rotated is left
        except OSError as error:
            raise OutputError(f"{path}: {error.strerror}", hint="--request-log FILE") from error
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger(REQUESTS)
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    stack.callback(handler.close)
    stack.callback(logger.removeHandler, handler)


def compared(log: TrafficRecord, labels: Mapping[str, str], card: TaskCard) -> Compared:
    """The variants of a log, compared on the rows that people labelled."""
    from ecomfs.ab import METRICS, Design
    from ecomfs.ab.logged import compare_log
    from ecomfs.ab.rows import GoldLabels
    from ecomfs.serve.split import Compared

    found = compare_log(log, GoldLabels(labels, {}, 0), card, Design(), where="reviews")
    scores = {
        variant: {METRICS[name]: score.text() for name, score in by.items() if name in METRICS}
        for variant, by in found.scores.items()
    }
    return Compared(scores, found.decision, found.notes)


def _runs_folder(database: str) -> Path:
    """Where uploaded tables are kept: beside a database that is a file, else where the log of runs
    is."""
    from ecomfs.batch.runlog import state_folder

    if "://" not in database:
        return Path(f"{database}.runs")
    return (state_folder() or Path.cwd()) / "service-runs"


def _fitted(
    config: ServiceConfig,
    name: str,
    changed: dict[str, Any],
    stack: ExitStack,
    phases: Phases,
    tenant: str,
) -> FewShotClassifier:
    """The classifier of one task of a configuration, on its tenant's pool."""
    from ecomfs.batch import import_examples, read_several
    from ecomfs.core.options import DEFAULTS, OPTIONS, options_of
    from ecomfs.engine.factory import salted
    from ecomfs.estimators import FewShotClassifier, MultiLabelClassifier, TaxonomyClassifier
    from ecomfs.pool import Pool
    from ecomfs.serve.keys import key_of
    from ecomfs.task import load_task

    task = config.tasks[name]
    card = load_task(task.task or name)
    pool = stack.enter_context(Pool.open(config.database, key_of(tenant, task.pool or name)))
    if task.tables and not pool.version:
        tables = ", ".join(os.path.basename(t) for t in task.tables)
        columns = {"label_column": task.label_column, "id_column": task.id_column}
        found = read_several(task.tables, card, **columns)
        import_examples(pool, found, note=f"import of {tables}")
    given = config.options_of(name)
    options = {n: OPTIONS[n].read(value, f"tasks.{name}") for n, value in given.items()}
    phases(LOADING)
    kind: Any = FewShotClassifier
    if card.several_labels:
        kind = MultiLabelClassifier
    elif card.hierarchy is not None:
        kind, options = TaxonomyClassifier, {**options, "separator": card.hierarchy}
    own = {option.name for option in options_of(kind.__name__)}
    inherited = {n: value for n, value in changed.items() if n in own}
    mine = {**inherited, **options}
    if tenant:
        mine["engine"] = salted(str(mine.get("engine", DEFAULTS["engine"])), tenant)
    clf: FewShotClassifier = kind(task.task or name, **mine)
    return clf.fit(pool, progress=phases)


def _variants(
    written: Sequence[str], options: dict[str, Any], card: TaskCard, task: str
) -> list[Variant]:
    """The variants, checked before a model is loaded."""
    from ecomfs.ab import check_variants, read_variants

    variants = read_variants((), written)
    check_variants(variants, options, card, task)
    return variants


def _split(
    variants: Sequence[Variant],
    settings: o.Settings,
    options: dict[str, Any],
    task: str,
    labelled: Pool | list[Example],
    log: TrafficLog,
    seed: int,
    phases: Phases,
) -> tuple[SplitService, list[Engine], str]:
    """The variants behind one service, their engines, and a line about the split."""
    from ecomfs.ab import fit_variants
    from ecomfs.serve import SplitService
    from ecomfs.traffic import TrafficSplit

    contenders = fit_variants(variants, options, task, labelled, progress=phases)
    phases.clear()
    for contender in contenders:
        print_notes(contender.classifier, settings)
    split = TrafficSplit({v.name: v.weight for v in variants}, seed)
    arms = SplitService(
        {c.name: cast("FewShotClassifier", c.classifier) for c in contenders},
        split,
        log,
        sources={v.name: v.source for v in variants},
    )
    shares = ", ".join(f"{name} {share:.0%}" for name, share in split.shares.items())
    return arms, [c.classifier.engine_ for c in contenders], f"\nsplit: {shares}; log {log.path}"
