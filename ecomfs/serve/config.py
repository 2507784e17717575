"""``ecomfs.yaml``: the tasks of a service, their pools, engine and keys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ecomfs.core.options import OPTIONS, known_option
from ecomfs.errors import ConfigError, MissingFileError
from ecomfs.io import load_yaml, yaml_problem
from ecomfs.serve.keys import MARK, ApiKey, Scope

_TEMPLATES = (".jinja", ".j2")
_Share = Annotated[float, Field(gt=0, lt=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KeyConfig(_Part):
    """One API key, as ``ecomfs key NAME`` prints it."""

    name: Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f]+$")]
    hash: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    scopes: Annotated[list[Scope], Field(min_length=1)]
    tasks: list[str] | None = None
    per_minute: Annotated[int | None, Field(ge=1)] = None
    tenant: Annotated[str, Field(max_length=80, pattern=r"^[\w.-]*$")] = ""

    @property
    def key(self) -> ApiKey:
        """The key for the service."""
        tasks = None if self.tasks is None else frozenset(self.tasks)
        scopes = frozenset(self.scopes)
        return ApiKey(self.name, self.hash, scopes, tasks, self.per_minute, self.tenant)


class TaskConfig(_Part):
    """One task.

    Attributes:
        task: name or folder of the card; by default the name of the task in the service.
        pool: name of the pool in the database; by default the name of the task in the service.
        examples: tables that fill an empty pool.
        options: options of the classifier (docs/options.md).
        review_below: predictions with less confidence are queued for review.
    """

    task: str | None = None
    pool: str | None = None
    examples: str | list[str] | None = None
    label_column: str | None = None
    id_column: str | None = None
    options: dict[str, Any] = {}
    review_below: _Share | None = None

    @property
    def tables(self) -> list[str]:
        """The tables of :attr:`examples`."""
        given = self.examples
        return [] if given is None else [given] if isinstance(given, str) else given


class ServiceConfig(_Part):
    """A whole service.

    Attributes:
        database: database of pools, reviews and runs: ``FILE.db`` or ``postgresql://…``.
        options: options of every classifier; those of a task override them.
        runs: folder of uploaded tables; by default beside a database that is a file. Several
            processes on one database need a shared folder.
        deadline: time limit of the predictions of a request in seconds.
        review_below: default of ``review_below`` of the tasks.
        tls_certificate, tls_key: PEM files for HTTPS.
    """

    database: str
    tasks: Annotated[dict[str, TaskConfig], Field(min_length=1)]
    keys: list[KeyConfig] = []
    options: dict[str, Any] = {}
    runs: str | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    deadline: Annotated[float, Field(gt=0)] = 60.0
    review_below: _Share | None = None
    tls_certificate: str | None = None
    tls_key: str | None = None

    def options_of(self, name: str) -> dict[str, Any]:
        """The options of a task's classifier, those of the service included."""
        return {**self.options, **self.tasks[name].options}

    def tenants(self, *, operator: bool = False) -> dict[str, list[str]]:
        """Tenant → the tasks that its keys see. The empty name stands for keys without a tenant.

        Args:
            operator: whether there is another key without a tenant.
        """
        out: dict[str, list[str]] = {}
        if operator or not self.keys:
            out[""] = list(self.tasks)
        for key in self.keys:
            # Tasks without a tenant are served even if no key sees them.
            seen = key.tasks if key.tenant and key.tasks is not None else self.tasks
            mine = {*out.get(key.tenant, ()), *seen}
            out[key.tenant] = [name for name in self.tasks if name in mine]
        return out


def read_config(path: str | Path) -> ServiceConfig:
    """Read the configuration of a service; paths in it are relative to its folder.

    Raises:
        MissingFileError: there is no such file.
        ConfigError: it is not YAML, or not a valid configuration; the message says where.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
    ...     _ = file.write("database: a.db\\ntasks: {reviews: {opts: {}}}")
    ...     file.flush()
    ...     read_config(file.name)
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: ...yaml: tasks.reviews.opts: Extra inputs are not permitted ...
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise MissingFileError(f"{file}: {error.strerror}", hint="name an ecomfs.yaml") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8", hint="save it as UTF-8") from error
    try:
        given = load_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: {yaml_problem(error)}", hint="see docs/serve.md") from error
    if not isinstance(given, Mapping):
        raise ConfigError(f"{file}: no tasks", hint="see docs/serve.md")
    try:
        config = ServiceConfig.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{file}: {where}: {first['msg']}", hint="see docs/serve.md") from error
    for name in config.tasks:
        checked = config.options_of(name)
        for option, value in checked.items():
            where = f"{file}: tasks.{name}.options"
            OPTIONS[known_option(option, where)].read(value, where)
    if marked := [name for name in config.tasks if MARK in name]:
        raise ConfigError(
            f"{file}: tasks.{marked[0]}: the name contains {MARK!r}", hint="choose another name"
        )
    unknown = [t for k in config.keys for t in k.tasks or () if t not in config.tasks]
    if unknown:
        raise ConfigError(
            f"{file}: keys: no task {unknown[0]!r}", hint=f"tasks are: {', '.join(config.tasks)}"
        )
    return _from_here(config, file.absolute().parent)


def _from_here(config: ServiceConfig, folder: Path) -> ServiceConfig:
    def path(text: str) -> str:
        return text if "://" in text or Path(text).is_absolute() else str(folder / text)

    def card(text: str | None) -> str | None:
        return str(folder / text) if text is not None and (folder / text).is_dir() else text

    def template(given: Any) -> Any:
        if isinstance(given, Mapping):
            return {language: template(each) for language, each in given.items()}
        return path(given) if isinstance(given, str) and given.endswith(_TEMPLATES) else given

    def options(given: Mapping[str, Any]) -> dict[str, Any]:
        out = dict(given)
        if isinstance(profile := out.get("profile"), str):
            out["profile"] = path(profile)
        if "template" in out:
            out["template"] = template(out["template"])
        return out

    tasks = {
        name: task.model_copy(
            update={
                "task": card(task.task),
                "examples": [path(t) for t in task.tables] or None,
                "options": options(task.options),
            }
        )
        for name, task in config.tasks.items()
    }
    return config.model_copy(
        update={
            "database": path(config.database),
            "runs": None if config.runs is None else path(config.runs),
            "tls_certificate": config.tls_certificate and path(config.tls_certificate),
            "tls_key": config.tls_key and path(config.tls_key),
            "options": options(config.options),
            "tasks": tasks,
        }
    )
