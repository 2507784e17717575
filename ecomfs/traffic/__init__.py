"""Traffic split between variants: which row goes where, and the log of what was answered.

split.py   assignment by a hash of the row's id
log.py     the log: written by a service, read when gold labels have come
"""

from ecomfs.traffic.log import Entry, Start, TrafficLog, TrafficRecord, read_log
from ecomfs.traffic.split import Split

__all__ = ["Entry", "Split", "Start", "TrafficLog", "TrafficRecord", "read_log"]
