"""One row per request, as chat: the upper limit for libraries that use chat."""

from score_generator import Chat as System

__all__ = ["System"]
