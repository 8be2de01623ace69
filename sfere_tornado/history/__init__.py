"""Past events, and their replay: what a client has missed, or that something is missing (:mod:`.history`).

Behind it, the kept events of one category (:mod:`.log`).
"""

from __future__ import annotations

from .log import MAX_DROPPED, Keep
from .memory import MAX_CATEGORIES, MAX_SCAN, PART_SIZE, Gap, History, Replay

__all__ = (
    "MAX_CATEGORIES",
    "MAX_DROPPED",
    "MAX_SCAN",
    "PART_SIZE",
    "Gap",
    "History",
    "Keep",
    "Replay",
)
