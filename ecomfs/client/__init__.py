"""The HTTP client.

client.py     the classifier's verbs
wire.py       rows and predictions as JSON
transport.py  one request: connection, retries, errors as exceptions
"""

from ecomfs.client.client import Client

__all__ = ["Client"]
