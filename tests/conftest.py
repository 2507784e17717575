"""Shared by all tests. (This file being here, tests import ``scripted`` and ``serving``.)"""

from hypothesis import settings

# Nothing is tested by timing: a busy machine is not a bug.
settings.register_profile("ecomfs", deadline=None)
settings.load_profile("ecomfs")
