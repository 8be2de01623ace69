"""Open event streams: one connection, many of them, and the writing to them."""

from __future__ import annotations

__all__ = ()
