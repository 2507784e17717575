"""Sixteen rows a request, one token each: what ecomfs can reach at most."""

from score_generator import Completions as System

__all__ = ["System"]
