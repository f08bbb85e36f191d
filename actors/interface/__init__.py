"""The interface: one request's deltas in, its messages out."""

from actors.interface.interface import Interface

__all__ = ["Interface"]
