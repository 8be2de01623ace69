"""Datastar: its actions, its signals, and request handlers that return effects."""

from __future__ import annotations

__all__ = ()
