"""Open connections by key: the contract (:mod:`.base`), in memory (:mod:`.memory`), on leases (:mod:`.expiring`).

Behind them, an index by pattern (:mod:`.index`), and the order of callbacks (:mod:`.turn`).
"""

from __future__ import annotations

from typing import Any, Final

from ..defaults import MAXSIZE, TTL, Expiry, OnFull, SameKey, Source
from .base import (
    MAX_KEYS_PER_CONNECTION,
    CategoryRules,
    Cause,
    Removal,
    Store,
    one_of,
)
from .configured import from_config
from .expiring import EXPIRE_SLICE, ExpiringStore
from .memory import MemoryStore
from .turn import MAX_CALLBACKS_IN_A_ROW

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
    "MemoryStore",
    "OnFull",
    "Removal",
    "SameKey",
    "Source",
    "Store",
    "from_config",
    "store",
)

_KINDS: Final[dict[str, type[MemoryStore[Any]]]] = {
    "memory": MemoryStore,
    "expiring": ExpiringStore,
}


def store(kind: str, **options: Any) -> Store[Any]:
    """Return a new store of a kind.

    Args:
        kind: ``memory`` or ``expiring``.
        options: the arguments of :class:`MemoryStore` or :class:`ExpiringStore`.

    Raises:
        ValueError: for another kind, and for a setting outside its range.
    """
    return _KINDS[one_of(kind, tuple(_KINDS), "the kind of a store")](**options)
