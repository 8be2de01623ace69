"""Contracts: the tests that every implementation of an interface must pass."""

from __future__ import annotations

__all__ = ()
