"""The store in memory whose connections leave when they are silent for too long."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

from ..defaults import MAXSIZE, TTL, Expiry, OnFull, SameKey, Source
from .leases import Leases
from .store import IndexedStore

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from ..keys import Key
    from .base import CategoryRules, Cause

__all__ = ("ExpiringStore",)

C = TypeVar("C")


class ExpiringStore(IndexedStore[C]):
    """Connections on a lease.

    An entry past its lease is gone for every reader in the same moment, also before it has been
    removed. A call removes 250 entries at most; :meth:`next_expiry` says "now" while more is due.

    Args:
        ttl: seconds a lease lasts.
        expiry: ``sliding``, counted from the last sign of life of each connection; or ``fixed``,
            counted from the first storing of the key, whatever is stored under it afterwards, until
            it has no connection left.
        timer: the clock, in seconds, monotonic.
        renewed_by: the signs of life that renew: ``request`` (the client asked: :meth:`get`),
            ``ack`` (its side answered: :meth:`renew`).
        same_key: see :class:`~.memory.MemoryStore`, also for what follows.
        maxsize: connections under keys that it takes, 1 or more.
        on_full: ``refuse`` or ``evict``.
        categories: what is different for the keys of a category, here also ``ttl`` and ``expiry``.
        on_evict: see :class:`~.base.Store`.

    Raises:
        ValueError: for a setting outside its range.
    """

    def __init__(
        self,
        ttl: float = TTL,
        *,
        expiry: Expiry = "sliding",
        timer: Callable[[], float] = time.monotonic,
        renewed_by: Collection[Source] = frozenset({"request", "ack"}),
        same_key: SameKey = "join",
        maxsize: int = MAXSIZE,
        on_full: OnFull = "refuse",
        categories: Mapping[Any, CategoryRules] | None = None,
        on_evict: Callable[[Key, C, Cause], object] | None = None,
    ) -> None:
        leases: Leases[C] = Leases(
            ttl,
            expiry=expiry,
            timer=timer,
            renewed_by=renewed_by,
            categories=categories,
        )
        #: The settings of its leases.
        self.leases: Leases[C] = leases
        super().__init__(
            leases,
            same_key=same_key,
            maxsize=maxsize,
            on_full=on_full,
            categories=categories,
            on_evict=on_evict,
        )

    @property
    def ttl(self) -> float:
        """Seconds a lease lasts."""
        return self.leases.ttl

    @property
    def expiry(self) -> Expiry:
        """``sliding`` or ``fixed``."""
        return self.leases.expiry

    @property
    def renewed_by(self) -> frozenset[Source]:
        """The signs of life that renew a lease."""
        return self.leases.renewed_by

    @property
    def timer(self) -> Callable[[], float]:
        """The clock, in seconds, monotonic."""
        return self.leases.timer
