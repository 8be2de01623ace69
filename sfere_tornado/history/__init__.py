"""Past events and their replay: the contract (:mod:`.base`), in memory (:mod:`.memory`)."""

from __future__ import annotations

from .base import Gap, History, Mark, Replay
from .log import MAX_DROPPED, Keep
from .memory import MAX_CATEGORIES, MAX_SCAN, PIECE_SIZE, MemoryHistory

__all__ = (
    "MAX_CATEGORIES",
    "MAX_DROPPED",
    "MAX_SCAN",
    "PIECE_SIZE",
    "Gap",
    "History",
    "Keep",
    "Mark",
    "MemoryHistory",
    "Replay",
)
