"""One row a request, as chat: what the peers that speak chat can reach at most."""

from score_generator import Chat as System

__all__ = ["System"]
