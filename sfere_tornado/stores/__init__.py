"""Open connections by key: in memory (:mod:`.memory`), or on leases (:mod:`.expiring`).

The contract is in :mod:`.base`. Both are one store (:mod:`.store`) over an index by pattern
(:mod:`.index`), with leases (:mod:`.leases`) or without.
"""

from __future__ import annotations

from ..callbacks import MAX_CALLBACKS_IN_A_ROW
from ..defaults import MAXSIZE, TTL, Expiry, OnFull, SameKey, Source
from .base import (
    MAX_KEYS_PER_CONNECTION,
    CategoryRules,
    Cause,
    Removal,
    Store,
)
from .configured import from_config
from .expiring import ExpiringStore
from .leases import EXPIRE_SLICE, Leases
from .memory import MemoryStore
from .store import IndexedStore

__all__ = (
    "EXPIRE_SLICE",
    "MAXSIZE",
    "MAX_CALLBACKS_IN_A_ROW",
    "MAX_KEYS_PER_CONNECTION",
    "TTL",
    "CategoryRules",
    "Cause",
    "Expiry",
    "ExpiringStore",
    "IndexedStore",
    "Leases",
    "MemoryStore",
    "OnFull",
    "Removal",
    "SameKey",
    "Source",
    "Store",
    "from_config",
)
