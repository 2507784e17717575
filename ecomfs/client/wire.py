"""Encodes rows as JSON, and decodes responses to the values of :mod:`ecomfs.types`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ecomfs import errors
from ecomfs.core.http import Response
from ecomfs.core.json import plain
from ecomfs.core.retry import permanent
from ecomfs.errors import (
    ConfigError,
    EcomfsError,
    EngineError,
    EngineResponseError,
    EngineTimeoutError,
    InputError,
    NotFoundError,
    RowError,
)
from ecomfs.task import as_items
from ecomfs.types import (
    Demonstration,
    Example,
    Opinion,
    Posterior,
    Prediction,
    Prompt,
    Status,
    TemplateRef,
    Turn,
)

if TYPE_CHECKING:
    from ecomfs.pipeline import Explanation

_PLACE = re.compile(r"\b(rows|ids|examples)\[(\d+)\]")
WRONG_SERVER = "check that the URL is that of ecomfs serve"
_BUSY = (429, 502, 503)
_ENVELOPE = 64  # bytes of a body besides its rows and ids


@dataclass(frozen=True, slots=True)
class Request:
    """The body of one request, and the ids of its rows."""

    ids: tuple[str, ...]
    body: bytes


def encode_rows(rows: Any) -> list[bytes]:
    """Encode each row of a DataFrame, of texts, or of mappings as JSON.

    Mappings get the fields of all rows; a field that a row lacks is null, like in a table.

    >>> encode_rows([{"text": "好", "n": float("nan")}, {"text": 2.5}])
    [b'{"text": "\\xe5\\xa5\\xbd", "n": null}', b'{"text": 2.5, "n": null}']

    Raises:
        ConfigError: a single string.
        InputError, ColumnError: see :func:`ecomfs.task.as_items`.
    """
    items = as_items(rows)
    names = dict.fromkeys(key for item in items if isinstance(item, dict) for key in item)
    return [_encode(item, names) for item in items]


def _encode(item: Any, names: Iterable[str]) -> bytes:
    if isinstance(item, dict):
        value: Any = {name: plain(item.get(name)) for name in names}
    else:
        value = "" if item is None else item
    # The service refuses a lone surrogate, with the number of the row.
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def requests(
    rows: Sequence[bytes],
    ids: Sequence[str],
    *,
    most_rows: int,
    most_bytes: int,
    task: str | None = None,
) -> list[Request | Prediction]:
    """Requests within the limits of the service, in order. A row too large for any request fails
    without being sent.

    >>> [r.ids for r in requests([b'"a"', b'"b"', b'"c"'], "123", most_rows=2, most_bytes=1000)]
    [('1', '2'), ('3',)]
    """
    parts: list[list[tuple[bytes, str, bytes]] | Prediction] = []
    batch: list[tuple[bytes, str, bytes]] = []
    size = most_bytes
    for row, id_ in zip(rows, ids, strict=True):
        name = json.dumps(id_).encode()
        cost = len(row) + len(name) + 2
        if _ENVELOPE + cost > most_bytes:
            why = f"the row has {len(row):,} bytes; the service accepts {most_bytes:,}"
            parts.append(Prediction(id_, None, status=Status.FAILED, error=why))
            size = most_bytes  # the next row starts a new request
            continue
        if len(batch) == most_rows or size + cost > most_bytes:
            batch, size = [], _ENVELOPE
            parts.append(batch)
        batch.append((row, id_, name))
        size += cost
    return [part if isinstance(part, Prediction) else _request(part, task) for part in parts]


def _request(batch: Sequence[tuple[bytes, str, bytes]], task: str | None) -> Request:
    rows, ids, names = zip(*batch, strict=True)
    body = b'{%b"rows":[%b],"ids":[%b]}' % (task_field(task), b",".join(rows), b",".join(names))
    return Request(ids, body)


@contextmanager
def part_from(start: int, done: str) -> Iterator[None]:
    """Send one part of a longer list: the places in an error are those of the list, and the hint
    says how many are stored.

    Args:
        start: place of the first one of this part.
        done: what the earlier ones are: "examples are in the pool".

    >>> with part_from(128, "examples are in the pool"):
    ...     raise InputError("examples[2]: the label is empty", hint="name one of the labels")
    Traceback (most recent call last):
    ecomfs.errors.InputError: examples[130]: the label is empty (name one of the labels; the first
    128 examples are in the pool already)
    """
    try:
        yield
    except EcomfsError as error:
        if not start:
            raise
        message = _PLACE.sub(lambda m: f"{m[1]}[{int(m[2]) + start}]", error.message)
        stored = f"the first {start} {done} already"
        hint = f"{error.hint}; {stored}" if error.hint else stored
        raise type(error)(message, hint=hint) from error


def task_field(task: str | None) -> bytes:
    """The beginning of a body that names a task.

    >>> task_field("reviews"), task_field(None)
    (b'"task":"reviews",', b'')
    """
    return b"" if task is None else b'"task":%b,' % json.dumps(task).encode()


def checked(response: Response) -> dict[str, Any]:
    """The JSON object of a response.

    Raises:
        EcomfsError: see :class:`ecomfs.client.Client`.
    """
    answer = _object(response)
    if response.status in (200, 201) and answer is not None:
        return answer
    raise refused(response)


def refused(response: Response) -> EcomfsError:
    """The error for a response."""
    url, status, answer = response.url, response.status, _object(response)
    kind = response.headers.get("Content-Type", "").partition(";")[0]
    told = answer or {}
    detail, hint = str(told.get("detail", "")) or f"HTTP {status}", str(told.get("hint", ""))
    own = _error_class(str(told.get("type", "")))
    if status in _BUSY:
        return response.retryable_error(f"{url}: {detail}")
    if status == 403 and "detail" in told:
        return ConfigError(f"{url}: {detail}", hint=hint)
    if status in (401, 403):
        return ConfigError(
            f"{url}: wrong or missing API key", hint="give api_key=, or set ECOMFS_API_KEY"
        )
    if "detail" not in told or (status in (404, 405) and own is not NotFoundError):
        return permanent(EngineResponseError(f"{url}: HTTP {status}, {kind}", hint=WRONG_SERVER))
    if 400 <= status < 500:
        return (own or InputError)(detail, hint=hint)
    if status == 504:
        return permanent(EngineTimeoutError(f"{url}: {detail}", hint=hint))
    return EngineError(f"{url}: {detail}", hint=hint)


def _object(response: Response) -> dict[str, Any] | None:
    kind = response.headers.get("Content-Type", "").partition(";")[0]
    return response.json_object() if "json" in kind else None


def _error_class(uri: str) -> type[InputError] | None:
    """The exception class of a problem type, so that local and remote errors are the same; ``None``
    if the type is unknown.

    >>> _error_class("urn:ecomfs:error:unknown-label").__name__, _error_class("about:blank")
    ('UnknownLabelError', None)
    """
    found = re.fullmatch(r"urn:ecomfs:error:([a-z-]+)", uri)
    if found:
        name = "".join(word.capitalize() for word in found[1].split("-")) + "Error"
        kind = getattr(errors, name, None)
        if isinstance(kind, type) and issubclass(kind, InputError):
            return kind
    return None


def predictions(answer: Mapping[str, Any], ids: Sequence[str], url: str) -> list[Prediction]:
    """The predictions of a response.

    Raises:
        EngineResponseError: it is not a response of ``POST /v1/classify``.
    """
    try:
        found = [_prediction(p) for p in answer["predictions"]]
        got = tuple(p.id for p in found)
        if not isinstance(answer["labels"], list):
            raise TypeError("labels are no list")
    except (KeyError, TypeError, ValueError) as error:
        raise _unexpected(url, error) from error
    if got != tuple(ids):
        raise EngineResponseError(
            f"{url}: {len(got)} predictions for {len(ids)} rows, or for other rows"
        )
    return found


def explanation(answer: Mapping[str, Any], url: str) -> Explanation:
    """The explanation of a response, equal to that of the local classifier, without its shortlist,
    nearest examples and facts.

    Raises:
        EngineResponseError: as in :func:`predictions`.
    """
    from ecomfs.pipeline import Explanation, RowState

    try:
        prediction = _prediction(answer["prediction"])
        labels = tuple(answer["labels"])
        details = answer["prediction"]["explanation"]
        demonstrations = tuple(_demonstration(d) for d in details["demonstrations"])
        prompt = None
        if details["prompt"] is not None and prediction.template is not None:
            prompt = Prompt(
                details["prompt"]["text"],
                prediction.template,
                demonstrations=demonstrations,
                dropped=details["prompt"]["dropped"],
                cut=details["prompt"]["cut"],
                turns=tuple(Turn(**turn) for turn in details["prompt"].get("turns", ())),
            )
        failed = prediction.status is Status.FAILED
        state = RowState(
            prediction.id,
            details["language"],
            demonstrations,
            prompt,
            RowError(prediction.error) if failed and prompt is None else None,
            opinion=_opinion(details, labels),
        )
        stages, shares = prediction.stages, prediction.probabilities
        posterior = None
        # With stages but none of the model, only the experts answered.
        if not failed and ("read" in stages or not stages):
            read = tuple(shares[label] for label in labels) if shares else ()
            posterior = Posterior(
                stages.get("read", read),
                prediction.label_mass,
                details["raw"],
                prediction.prompt_tokens,
                prediction.cached_tokens,
            )
    except (KeyError, TypeError, ValueError) as error:
        raise _unexpected(url, error) from error
    return Explanation(state, posterior, prediction, labels)


def _opinion(details: Mapping[str, Any], labels: Sequence[str]) -> Opinion | None:
    """The experts' answers in an explanation; ``None`` without experts."""
    shares = details.get("experts") or {}  # older services do not send this field
    if not shares:
        return None
    scores = {
        name: tuple(math.log(p[label]) if p[label] > 0 else -math.inf for label in labels)
        for name, p in shares.items()
    }
    nearest = details.get("nearest")
    return Opinion(scores, math.nan if nearest is None else nearest)


def _prediction(p: Mapping[str, Any]) -> Prediction:
    given = {str(k): math.nan if v is None else float(v) for k, v in p["probabilities"].items()}
    stages = p.get("stages", {})  # older services do not send this field
    if bad := [label for label, value in given.items() if not math.isfinite(value)]:
        # JSON has no NaN, so it is sent as null. Only this row fails.
        why = f"the service gave no probability of {bad[0]!r}"
        p = {**p, "label": None, "status": "failed", "error": why, "prediction_set": []}
        given, stages = {}, {}
    return Prediction(
        id=p["id"],
        label=p["label"],
        probabilities=given,
        status=Status(p["status"]),
        error=p["error"],
        note=p["note"],
        label_mass=p["label_mass"],
        stages={str(name): tuple(values) for name, values in stages.items()},
        source=p.get("source", ""),
        prediction_set=tuple(p.get("prediction_set", ())),
        novelty=p.get("novelty"),
        suspicious=tuple(p.get("suspicious", ())),
        demonstration_ids=tuple(p["demonstration_ids"]),
        template=None if p["template"] is None else TemplateRef(*p["template"].rsplit("@", 1)),
        engine=p["engine"],
        pool_version=p["pool_version"],
        prompt_tokens=p["prompt_tokens"],
        cached_tokens=p["cached_tokens"],
    )


def _demonstration(d: Mapping[str, Any]) -> Demonstration:
    return Demonstration(
        Example(d["id"], d["fields"], d["label"], d["synthetic"]),
        d["text"],
        math.nan if d["similarity"] is None else d["similarity"],
    )


def _unexpected(url: str, error: Exception) -> EngineResponseError:
    return EngineResponseError(
        f"{url}: unexpected response ({type(error).__name__}: {error})",
        hint="use the same version of ecomfs for client and service",
    )
