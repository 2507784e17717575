"""``ecomfs key``: a new key for callers of a service."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ecomfs.cli.terminal import say


def key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="who it is for")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope", help="classify, label or admin (repeatable) [classify]", show_default=False
        ),
    ] = None,
    tenant: Annotated[
        str | None,
        typer.Option(
            help="whose tasks it sees: each tenant has its own pools, reviews and runs",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make a key for callers of ecomfs serve, and print the lines for ecomfs.yaml: only the hash of
    the key stands there."""
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
    say(f"lines for ecomfs.yaml:\n\nkeys:\n  - name: {name}\n    hash: {digest}")
    say(f"    scopes: [{', '.join(scopes)}]")
    if tenant:
        say(f"    tenant: {tenant}")
