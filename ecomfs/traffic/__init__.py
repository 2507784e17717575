"""Ids of live rows → the variant that answers each, and the log of what was answered."""

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
