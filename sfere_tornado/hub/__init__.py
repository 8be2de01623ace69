"""The hub (:mod:`.hub`) and its parts; :mod:`.alarm` is the only timer of the library."""

from __future__ import annotations

from .chains import MAX_CHAINS
from .hub import Hub

__all__ = ("MAX_CHAINS", "Hub")
