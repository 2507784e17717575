"""Splits live traffic between variants by id, and logs the predictions."""

from ecomfs.traffic.log import (
    LoggedPrediction,
    LoggedStart,
    TrafficLog,
    TrafficRecord,
    now,
    read_log,
)
from ecomfs.traffic.split import TrafficSplit

__all__ = [
    "LoggedPrediction",
    "LoggedStart",
    "TrafficLog",
    "TrafficRecord",
    "TrafficSplit",
    "now",
    "read_log",
]
