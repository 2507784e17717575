"""The Python client of ``ecomfs serve``: rows to predictions over HTTP."""

from ecomfs.client.client import Client

__all__ = ["Client"]
