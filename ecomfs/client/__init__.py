"""The client of ``ecomfs serve``: rows go in over HTTP, predictions come out."""

from ecomfs.client.client import Client

__all__ = ["Client"]
