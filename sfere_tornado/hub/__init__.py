"""The hub, in ``hub.hub``, and its parts. ``hub.alarm`` is the library's only timer."""

from __future__ import annotations

from .chains import MAX_CHAINS
from .hub import Hub

__all__ = ("MAX_CHAINS", "Hub")
