"""The store in memory without leases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from ..defaults import MAXSIZE, OnFull, SameKey
from .base import CategoryRules, Cause, check_categories
from .store import IndexedStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..keys import Key

__all__ = ("MemoryStore",)

C = TypeVar("C")


class MemoryStore(IndexedStore[C]):
    """Connections that stay until they are removed.

    Args:
        same_key: what a second connection under a key does: ``join`` (all of the key are reached),
            ``replace`` (the newest wins, the others leave) or ``refuse``.
        maxsize: connections under keys that it takes, 1 or more.
        on_full: what it does at ``maxsize``: ``refuse`` a newcomer, or ``evict`` the entry whose
            last sign of life is the oldest.
        categories: what is different for the keys of a category.
        on_evict: see :class:`~.base.Store`; may also be set as an attribute, like the others.

    Raises:
        ValueError: for a setting outside its range, or one of leases.
    """

    def __init__(
        self,
        *,
        same_key: SameKey = "join",
        maxsize: int = MAXSIZE,
        on_full: OnFull = "refuse",
        categories: Mapping[Any, CategoryRules] | None = None,
        on_evict: Callable[[Key, C, Cause], object] | None = None,
    ) -> None:
        for category, rules in check_categories(categories).items():
            if rules.ttl is not None or rules.expiry is not None:
                raise ValueError(
                    f"ttl and expiry of category {category!r} need an expiring store; "
                    "a memory store has no leases"
                )
        super().__init__(
            None,
            same_key=same_key,
            maxsize=maxsize,
            on_full=on_full,
            categories=categories,
            on_evict=on_evict,
        )
