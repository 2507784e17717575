"""Packages that only some formats need, imported when such a file is opened."""

from __future__ import annotations

from functools import partial

from ecomfs.io.optional import optional_module as _optional_module

optional_module = partial(_optional_module, extra="formats")
