"""Shared by all tests. (This file being here, tests import ``scripted`` and ``serving``.)"""
