"""API keys of callers, with scopes, tasks and a rate limit.

A key is 32 random bytes, so its SHA-256 cannot be reversed and needs no slow hash. Only the hash is
stored.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from threading import Lock
from typing import Literal, get_args

from itsdangerous import BadData, URLSafeTimedSerializer

from ecomfs.errors import ConfigError

Scope = Literal["classify", "label", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
_TENANT = re.compile(r"[\w.-]{0,80}")
SESSION_SECONDS = 12 * 3600
"""Lifetime of a session cookie in seconds."""

MARK = "/"
"""Separator of a tenant and its task."""


def key_of(tenant: str, name: str) -> str:
    """The unique key of a tenant's task or pool in the service.

    >>> key_of("north", "reviews"), key_of("", "reviews")
    ('north/reviews', 'reviews')
    """
    return f"{tenant}{MARK}{name}" if tenant else name


def parts_of(key: str) -> tuple[str, str]:
    """Split a key of :func:`key_of` into tenant and name.

    >>> parts_of("north/reviews"), parts_of("reviews")
    (('north', 'reviews'), ('', 'reviews'))
    """
    tenant, _, name = key.rpartition(MARK)
    return tenant, name


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request.

    Attributes:
        name: name of the key; ``local`` if the service has no keys.
        scopes: ``classify``: predictions and runs; ``label``: examples and reviews too;
            ``admin``: everything.
        tasks: the tasks it may see; ``None``: all of its tenant.
        anonymous: whether the service has no keys.
        tenant: the tenant whose tasks it sees; it cannot see that others exist.
    """

    name: str
    scopes: frozenset[Scope]
    tasks: frozenset[str] | None = None
    anonymous: bool = False
    tenant: str = ""

    def may(self, scope: Scope) -> bool:
        """Whether the caller has a scope.

        >>> labeller = Caller("wen", frozenset(["label"]))
        >>> labeller.may("classify"), labeller.may("label"), labeller.may("admin")
        (True, True, False)
        """
        has = self.scopes
        return scope in has or "admin" in has or (scope == "classify" and "label" in has)

    def sees(self, tenant: str, task: str) -> bool:
        """Whether the caller may see a tenant's task.

        >>> Caller("wen", frozenset(["label"]), tenant="north").sees("south", "reviews")
        False
        """
        return tenant == self.tenant and (self.tasks is None or task in self.tasks)


LOCAL = Caller("local", frozenset(SCOPES), anonymous=True)
"""The caller of a service without keys, which listens on loopback only."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One API key of the configuration.

    Attributes:
        name: name of its owner, recorded in logs and with decisions.
        digest: SHA-256 of the key in hex.
        per_minute: most requests per minute; ``None``: no limit.
        tenant: the tenant whose tasks it sees; empty: tasks without a tenant.
    """

    name: str
    digest: str
    scopes: frozenset[Scope]
    tasks: frozenset[str] | None = None
    per_minute: int | None = None
    tenant: str = ""

    @property
    def caller(self) -> Caller:
        """The caller with this key."""
        return Caller(self.name, self.scopes, self.tasks, tenant=self.tenant)


def new_key() -> tuple[str, str]:
    """A new key and its hash.

    >>> key, digest = new_key()
    >>> digest_of(key) == digest
    True
    """
    key = f"ecomfs_{secrets.token_urlsafe(32)}"
    return key, digest_of(key)


def digest_of(key: str) -> str:
    """SHA-256 of a key, in hex."""
    return hashlib.sha256(key.encode()).hexdigest()


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


@dataclass(slots=True)
class Keys:
    """The keys of a service.

    Args:
        keys: the keys.
        secret: signs session cookies; the same in every process of a service. By default a random
            one, with which the cookies of another process or of an earlier start are not valid.

    Raises:
        ConfigError: two keys with the same name or the same hash, an invalid hash, an unknown
            scope, or an invalid tenant name.

    >>> key, digest = new_key()
    >>> keys = Keys([ApiKey("shop", digest, frozenset(["classify"]))])
    >>> keys.find(key).name, keys.find("wrong")
    ('shop', None)
    >>> keys.of_session(keys.session("shop")).name
    'shop'
    """

    keys: Collection[ApiKey]
    secret: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    _buckets: dict[str, _Bucket] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        names = [key.name for key in self.keys]
        for key in self.keys:
            if names.count(key.name) > 1:
                raise ConfigError(f"two keys are named {key.name!r}", hint="use different names")
            if twin := next((k.name for k in self.keys if k.digest == key.digest and k != key), ""):
                raise ConfigError(
                    f"the keys {key.name!r} and {twin!r} have the same hash",
                    hint=f"a caller would be only one of them; ecomfs key {twin} makes a key",
                )
            if len(key.digest) != 64 or not all(c in "0123456789abcdef" for c in key.digest):
                raise ConfigError(
                    f"key {key.name!r}: its hash is not a SHA-256 in hex",
                    hint=f"ecomfs key {key.name} makes a key and its hash",
                )
            if not _TENANT.fullmatch(key.tenant):
                raise ConfigError(
                    f"key {key.name!r}: {key.tenant!r} is not a valid tenant name",
                    hint="use letters, digits, and the characters . _ -",
                )
            if unknown := set(key.scopes) - set(SCOPES):
                raise ConfigError(
                    f"key {key.name!r}: unknown scope {min(unknown)!r}",
                    hint=f"scopes are {', '.join(SCOPES)}",
                )

    def find(self, key: str | bytes) -> Caller | None:
        """The caller of a key, or ``None``; all hashes are compared in constant time."""
        raw = key.encode() if isinstance(key, str) else key
        digest = hashlib.sha256(raw).hexdigest()
        found = None
        for known in self.keys:
            if hmac.compare_digest(known.digest, digest):
                found = known.caller
        return found

    def session(self, name: str) -> str:
        """The session cookie after signing in. It is signed with the secret and the hash of the
        key: the hash alone stands in configuration files, and a new key ends the session."""
        return self._signer(self._named(name)).dumps(name)

    def of_session(self, value: str) -> Caller | None:
        """The caller of a session cookie; ``None`` if it is invalid or too old."""
        for known in self.keys:
            try:
                name = self._signer(known).loads(value, max_age=SESSION_SECONDS)
            except BadData:
                continue
            if name == known.name:
                return known.caller
        return None

    def wait(self, name: str) -> float:
        """Seconds until the rate limit allows the next request; with 0, the request is counted."""
        limit = self._named(name).per_minute
        if limit is None:
            return 0.0
        moment = time.monotonic()
        with self._lock:
            bucket = self._buckets.setdefault(name, _Bucket(float(limit), moment))
            refill = (moment - bucket.at) * limit / 60
            bucket.tokens, bucket.at = min(float(limit), bucket.tokens + refill), moment
            if bucket.tokens >= 1:
                bucket.tokens -= 1
                return 0.0
            return (1 - bucket.tokens) * 60 / limit

    def _named(self, name: str) -> ApiKey:
        return next(key for key in self.keys if key.name == name)

    def _signer(self, key: ApiKey) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self.secret + key.digest, salt="ecomfs-session")
