"""Sixteen rows per request, one token each: the upper limit for ecomfs."""

from score_generator import Completions as System

__all__ = ["System"]
