"""Doctests of modules that need an optional package are left out where it is not installed."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = [] if find_spec("fastapi") and find_spec("uvicorn") else ["ecomfs/serve"]
