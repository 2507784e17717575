"""``ecomfs serve``: the classifier over HTTP; ``ecomfs key``: keys for its callers;
``ecomfs backup`` and ``ecomfs restore``: its database."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import tempfile
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from ecomfs.cli import options as o
from ecomfs.cli.classifier import (
    OptionalExamples,
    check_guarantees,
    classifier_of_task,
    print_notes,
)
from ecomfs.cli.json_result import print_result, set_result
from ecomfs.cli.terminal import say, show_phases
from ecomfs.core.options import DEFAULTS, OPTIONS
from ecomfs.core.progress import CHECKING, LOADING

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Mapping, Sequence

    from starlette.applications import Starlette

    from ecomfs.ab import Variant
    from ecomfs.core.progress import Phases
    from ecomfs.engine.protocol import Engine
    from ecomfs.estimators import FewShotClassifier
    from ecomfs.pool import Pool
    from ecomfs.serve import SplitService
    from ecomfs.serve.config import ServiceConfig
    from ecomfs.serve.server import Tls
    from ecomfs.serve.split import ComparisonSummary
    from ecomfs.task import TaskCard
    from ecomfs.traffic import TrafficLog, TrafficRecord
    from ecomfs.types import Example


HOST, PORT, DEADLINE = "127.0.0.1", 8080, 60.0


@dataclass(frozen=True, slots=True)
class _Examples(OptionalExamples):
    """The task and its labelled examples, unless a configuration names them."""

    # A configuration file names the tasks; without one, --task is required.
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


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Options of the server; a configuration file may set them too."""

    host: Annotated[
        str | None, typer.Option(help="address; other than loopback needs a key [127.0.0.1]")
    ] = None
    port: Annotated[int | None, typer.Option(help="port; 0: any free one [8080]")] = None
    api_key: Annotated[
        str | None,
        typer.Option(help="API key of callers", envvar="ECOMFS_API_KEY", show_default=False),
    ] = None
    review_below: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="queue predictions with less confidence for review [none]"),
    ] = None
    deadline: Annotated[
        float | None, typer.Option(min=0.1, help="time limit of a request in seconds [60]")
    ] = None
    tls_certificate: Annotated[
        Path | None,
        typer.Option(help="PEM file: serve https with this certificate (needs --tls-key)"),
    ] = None
    tls_key: Annotated[Path | None, typer.Option(help="PEM file: its private key")] = None
    request_log: Annotated[
        Path | None,
        typer.Option(
            help="append a line of JSON per request to this file, without text of rows; -: to "
            "standard error"
        ),
    ] = None


def _tls(certificate: Path | None, key: Path | None) -> Tls | None:
    """The certificate, if the service itself uses HTTPS."""
    from ecomfs.errors import ConfigError
    from ecomfs.serve.server import Tls

    if certificate is not None and key is not None:
        return Tls(certificate, key)
    if certificate is None and key is None:
        return None
    given, missing = ("key", "certificate") if key else ("certificate", "key")
    raise ConfigError(f"--tls-{given} without --tls-{missing}", hint="give both, as PEM files")


@o.flatten_options
def serve(
    labelled: _Examples,
    settings: o.Answering,
    service: ServerOptions,
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="[ECOMFS.yaml]",
            help="tasks, pools, engine and keys of a service with several tasks (docs/serve.md)",
            show_default=False,
        ),
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
            hidden=True, help="seed of the assignment of ids to variants; change it per experiment"
        ),
    ] = 0,
) -> None:
    """Serve classifiers over HTTP, with web pages for reviews, until Ctrl-C."""
    phases = show_phases(CHECKING)
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
            f"{given} without {missing}", hint="give both: traffic that is split is logged"
        )
    if config is not None:
        beside = {"--task": labelled.task, "--examples": labelled.examples, "--variant": variant}
        for flag, value in beside.items():
            if value:
                raise ConfigError(f"{flag} together with {config}", hint="put it into the file")
        _serve_config(config, settings, service, phases)
        return
    task = labelled.task
    if not task or not labelled.sources:
        flag = "--examples" if task else "--task"
        raise ConfigError(
            f"{flag} is missing", hint="ecomfs serve --task TASK --examples POOL, or ECOMFS.yaml"
        )
    # Check the address and the certificate before the model is loaded.
    tls = _tls(service.tls_certificate, service.tls_key)
    port = PORT if service.port is None else service.port
    sock = server.bind(service.host or HOST, port, api_key=service.api_key)
    with sock, ExitStack() as stack:
        _log_requests(service.request_log, stack)
        check_guarantees(settings, labelled)
        card, pool = labelled.load(id_column=id_column)
        options = {**settings, "seed": labelled.seed}
        variants: list[Variant] = []
        if variant:
            from ecomfs.ab import check_variants, read_variants

            variants = read_variants((), variant)
            check_variants(variants, options, card, task)
        traffic = None if log is None else stack.enter_context(closing(TrafficLog(log)))
        examples = stack.enter_context(labelled.to_fit(pool))
        served: Any
        split: list[str] = []
        if traffic is None:
            # --field is for the table only: requests use the task's field names.
            phases(LOADING)
            served = classifier_of_task(replace(labelled, field=None), settings)
            served.fit(examples, progress=phases)
            phases.clear()
            engines = [served.engine_]
            print_notes(served, settings)
        else:
            served, engines, line = _split(
                variants, settings, options, task, examples, traffic, split_seed, phases
            )
            split = [line]
        follows = not isinstance(examples, list)
        app = create_app(
            served,
            api_key=service.api_key,
            allowed_hosts=None if service.api_key else server.LOOPBACK_HOSTS,
            review_below=service.review_below,
            deadline=service.deadline or DEADLINE,
            runs_folder=_runs_folder(labelled.sources[0]) if follows else None,
            compare=compared,
        )
        specs = [*dict.fromkeys(e.spec for e in engines)]
        _run(
            app,
            sock,
            tls,
            engines,
            [f"{task} · {len(pool)} labelled examples · {', '.join(specs)}", *split],
            "changes of the pool count from the next request"
            if follows
            else "decisions are kept until it stops: give --examples FILE.db",
            phases,
            {"task": task, "examples": len(pool), "engines": specs, "log": log},
        )


def _run(
    app: Starlette,
    sock: socket.socket,
    tls: Tls | None,
    engines: Iterable[Engine],
    head: Sequence[str],
    changes: str,
    phases: Phases,
    result: dict[str, Any],
) -> None:
    """Serve until Ctrl-C, then close the engines."""
    from ecomfs.cli.present import note
    from ecomfs.core import event_loop
    from ecomfs.serve import server

    url = server.url_of(sock, "http" if tls is None else "https")
    at = f"serving at {url} (try {url}/docs), stop with Ctrl-C"
    text = "\n".join([*head, at, changes, f"ready after {phases.text()}"])
    set_result({"url": url, **result})

    def on_ready() -> None:
        note(text)
        print_result()

    try:
        server.run(app, sock, on_ready=on_ready, tls=tls, end_within=server.END_SECONDS)
    finally:
        for each in {id(e): e for e in engines}.values():
            event_loop.run(each.aclose())


def _serve_config(path: Path, settings: o.Settings, service: ServerOptions, phases: Phases) -> None:
    """Serve the tasks of a configuration file. Options of the command line are defaults for its
    tasks."""
    from ecomfs.serve import create_app, server
    from ecomfs.serve.config import read_config
    from ecomfs.serve.keys import key_of

    tls = _tls(service.tls_certificate, service.tls_key)
    config = read_config(path)
    keys = [each.key for each in config.keys]
    sock = server.bind(
        service.host or config.host,
        config.port if service.port is None else service.port,
        api_key=service.api_key or (keys[0].digest if keys else None),
    )
    files = (config.tls_certificate, config.tls_key)
    tls = tls or _tls(*(None if file is None else Path(file) for file in files))
    changed = {n: v for n, v in settings.items() if v != DEFAULTS[n]}
    with sock, ExitStack() as stack:
        _log_requests(service.request_log, stack)
        fitted = {
            tenant: {name: _fitted(config, name, changed, stack, phases, tenant) for name in names}
            for tenant, names in config.tenants(operator=bool(service.api_key)).items()
        }
        served = {key_of(t, n): clf for t, mine in fitted.items() for n, clf in mine.items()}
        phases.clear()
        below = {
            name: next((v for v in given if v is not None), None)
            for name, given in (
                (name, (service.review_below, task.review_below, config.review_below))
                for name, task in config.tasks.items()
            )
        }
        app = create_app(
            fitted.pop("", {}),
            tenants=fitted,
            api_key=service.api_key,
            keys=keys,
            allowed_hosts=None if service.api_key or keys else server.LOOPBACK_HOSTS,
            review_below=below,
            deadline=service.deadline or config.deadline,
            runs_folder=config.runs or _runs_folder(config.database),
        )
        examples = {name: clf.pool_.stats().examples for name, clf in served.items()}
        _run(
            app,
            sock,
            tls,
            [clf.engine_ for clf in served.values()],
            [
                f"{name} · {examples[name]} labelled examples · {clf.engine_.spec}"
                for name, clf in served.items()
            ],
            "changes of a pool count from the next request",
            phases,
            {"tasks": examples, "database": config.database},
        )


def _log_requests(path: Path | None, stack: ExitStack) -> None:
    """Log one line of JSON per request until the stack is closed."""
    import logging
    from logging.handlers import WatchedFileHandler

    from ecomfs.errors import OutputError
    from ecomfs.serve.middleware import REQUESTS

    if path is None:
        return
    handler: logging.Handler = logging.StreamHandler()
    if str(path) != "-":
        try:
            handler = WatchedFileHandler(path, encoding="utf-8")  # works with log rotation
        except OSError as error:
            raise OutputError(
                f"{path}: {error.strerror}", hint="name another file with --request-log"
            ) from error
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger(REQUESTS)
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    stack.callback(handler.close)
    stack.callback(logger.removeHandler, handler)


def compared(log: TrafficRecord, labels: Mapping[str, str], card: TaskCard) -> ComparisonSummary:
    """Compare the variants of a log on the rows that people labelled."""
    from ecomfs.ab import METRICS, Design
    from ecomfs.ab.from_log import compare_log
    from ecomfs.ab.rows import GoldLabels
    from ecomfs.serve.split import ComparisonSummary

    found = compare_log(log, GoldLabels(labels, {}, 0), card, Design(), where="reviews")
    scores = {
        variant: {METRICS[name]: score.text() for name, score in by.items() if name in METRICS}
        for variant, by in found.scores.items()
    }
    return ComparisonSummary(scores, found.decision, found.notes)


def _runs_folder(database: str) -> Path:
    """The folder of uploaded tables: beside a database that is a file, else beside the run logs."""
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
    """The fitted classifier of one task of a configuration, on its tenant's pool."""
    from ecomfs.batch import import_examples, read_several
    from ecomfs.engine.factory import salted
    from ecomfs.estimators import classifier_of
    from ecomfs.pool import Pool
    from ecomfs.serve.keys import key_of
    from ecomfs.task import load_task

    task = config.tasks[name]
    pool = stack.enter_context(Pool.open(config.database, key_of(tenant, task.pool or name)))
    if task.tables and not pool.version:
        tables = ", ".join(os.path.basename(t) for t in task.tables)
        columns = {"label_column": task.label_column, "id_column": task.id_column}
        found = read_several(task.tables, load_task(task.task or name), **columns)
        import_examples(pool, found, note=f"import of {tables}")
    given = config.options_of(name)
    options = {n: OPTIONS[n].read(value, f"tasks.{name}") for n, value in given.items()}
    phases(LOADING)
    clf: Any = classifier_of(task.task or name)
    inherited = {n: value for n, value in changed.items() if n in clf.get_params()}
    clf.set_params(**{**inherited, **options})
    if tenant:
        clf.set_params(engine=salted(str(clf.engine), tenant))
    return cast("FewShotClassifier", clf.fit(pool, progress=phases))


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
    """The split service, the engines of its variants, and a line about the split."""
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
    return arms, [c.classifier.engine_ for c in contenders], f"split: {shares}; log {log.path}"


def key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="name of the key's owner")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope", help="classify, label or admin (repeatable) [classify]", show_default=False
        ),
    ] = None,
    tenant: Annotated[
        str | None,
        typer.Option(
            help="tenant whose tasks the key can use; each has its own pools, reviews and runs",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make a key for callers of ecomfs serve, and print the lines for ecomfs.yaml, which contain
    only a hash of the key."""
    from ecomfs.cli.json_result import set_result
    from ecomfs.errors import ConfigError

    try:
        from ecomfs.serve.keys import ApiKey, Keys, new_key
    except ImportError as error:
        raise ConfigError(
            f"the web server is not installed: {error}", hint="pip install 'ecomfs[serve]'"
        ) from error
    made, digest = new_key()
    scopes = scope or ["classify"]
    checked: frozenset[Any] = frozenset(scopes)
    Keys([ApiKey(name, digest, checked, tenant=tenant or "")])  # refuses what it cannot use
    found = {"name": name, "key": made, "hash": digest, "scopes": scopes, "tenant": tenant}
    set_result(found)
    say(f"key (shown once, give it to {name}): {made}")
    # In quotes, because YAML reads names such as 007, on and "a: b" as something else.
    quoted = partial(json.dumps, ensure_ascii=False)
    say(f"lines for ecomfs.yaml:\n\nkeys:\n  - name: {quoted(name)}\n    hash: {digest}")
    say(f"    scopes: [{', '.join(scopes)}]")
    if tenant:
        say(f"    tenant: {quoted(tenant)}")


DatabaseFile = Annotated[
    Path, typer.Argument(metavar="FILE.db", help="database of pools and reviews")
]


def backup(
    database: DatabaseFile,
    output: Annotated[Path, typer.Argument(metavar="BACKUP.db", help="file to write")],
) -> None:
    """Copy a database while it is in use. The copy is a consistent, checked snapshot."""
    from ecomfs.cli.json_result import set_result

    _copy(database, output, replace=False)
    set_result({"database": database, "backup": output, "bytes": output.stat().st_size})
    say(f"{output}: {output.stat().st_size:,} bytes, checked")


def restore(
    backup_file: Annotated[
        Path, typer.Argument(metavar="BACKUP.db", help="file written by ecomfs backup")
    ],
    database: DatabaseFile,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="replace an existing database (a copy of it is kept)"),
    ] = False,
) -> None:
    """Restore a database from a backup. A running service uses it from the next request on."""
    from ecomfs.cli.json_result import set_result

    _copy(backup_file, database, replace=replace)
    set_result({"backup": backup_file, "database": database})
    say(f"{database}: restored from {backup_file}")


def _copy(source: Path, target: Path, *, replace: bool) -> None:
    from ecomfs.errors import ConfigError, MissingFileError, OutputError, PoolError

    if not source.is_file():
        raise MissingFileError(f"{source}: no such file", hint="name an SQLite database")
    if target.exists() and (not replace or not target.is_file()):
        hint = "name another file, or give --replace" if target.is_file() else "name a file in it"
        raise ConfigError(f"{target} exists already", hint=hint)
    if target.exists():
        if target.samefile(source):
            raise ConfigError(
                f"{target} and the backup are the same file", hint="name another file"
            )
        if not _is_sqlite(target):
            raise ConfigError(
                f"{target} is not an SQLite database", hint="name the database to replace"
            )
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.absolute().parent)
    except OSError as error:
        raise OutputError(f"{target}: {error.strerror}", hint="choose another folder") from error
    os.close(handle)
    part = Path(name)
    try:
        # SQLite's online backup: it waits for writers and never copies half a transaction.
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as old,
            closing(sqlite3.connect(part)) as new,
        ):
            old.backup(new)
            [(found,)] = new.execute("PRAGMA integrity_check(1)").fetchall()
            if found != "ok":
                raise PoolError(f"{source}: damaged: {found}", hint="restore an older backup")
        if target.exists():
            part.chmod(stat.S_IMODE(target.stat().st_mode))
        # Also if only the log of a deleted database is left: SQLite would play it into the copy.
        kept = _free(target)
        for beside, away in zip(_files(target), _files(kept), strict=True):
            if beside.exists():
                beside.replace(away)
        part.replace(target)
    except sqlite3.Error as error:
        raise PoolError(f"{source}: {error}", hint="check that it is an SQLite database") from error
    except OSError as error:
        raise OutputError(
            f"{target}: {error.strerror}",
            hint="check the file and its folder; nothing was replaced",
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) in (b"", b"SQLite format 3\0")


def _free(target: Path) -> Path:
    """A free path for the replaced database and its log."""
    kept, number = target.with_name(f"{target.name}.old"), 2
    while any(file.exists() for file in _files(kept)):
        kept, number = target.with_name(f"{target.name}.old{number}"), number + 1
    return kept


def _files(database: Path) -> list[Path]:
    """The files of an SQLite database: itself, its log, and the index of the log."""
    return [database.with_name(database.name + end) for end in ("", "-wal", "-shm")]
