"""How many streams may be open: in all, for a scope, under a key, from an address.

Only addresses are counted here; the others the store knows already. Everything is pure: whoever opens a stream asks
first, and says when it has ended.

A limit is a hedge against a client that opens without end, and against a day when everybody comes. It is not fairness:
behind one address there may be a whole company.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ..errors import LimitReachedError
from ..keys import ANY
from . import MemoryStore

if TYPE_CHECKING:
    from ..config import LimitsConfig
    from ..keys import Key
    from . import Store

__all__ = ("Admission",)


class Admission:
    """Says whether one more stream may be opened.

    Args:
        limits: the numbers; None is no limit.
        store: where stored connections are counted.
    """

    def __init__(self, limits: LimitsConfig, store: Store[Any]) -> None:
        self.limits = limits
        self._store = store
        self._open: Counter[str] = Counter()
        #: Streams that have entered and not left.
        self.total = 0
        #: Streams that the system has files for; None where it has enough for the limits, or nobody has asked.
        self.files: int | None = None

    def __repr__(self) -> str:
        return f"<Admission: {self.total} streams from {len(self._open)} addresses>"

    def enter(self, remote: str) -> None:
        """Let a stream from an address in, before anything else is done for it.

        Raises:
            LimitReachedError: when there are too many in all, or from there, or for the files that the process may have
                open; nothing was counted then.
        """
        self._check("total", self.total, remote)
        if self.files is not None and self.total >= self.files:
            raise LimitReachedError("files", self.files, remote)
        self._check(
            "per_address", self._open[remote] if self.limits.per_address is not None else 0, remote
        )
        self.total += 1
        self._open[remote] += 1

    def leave(self, remote: str) -> None:
        """Take note that a stream that had entered has ended."""
        self.total -= 1
        self._open[remote] -= 1
        if self._open[remote] <= 0:
            del self._open[remote]

    def check_key(self, key: Key, newcomer: object) -> None:
        """Tell whether a connection may be stored under a key; those whose place it takes are not counted.

        Args:
            key: the whole key.
            newcomer: the connection. Where it has the key already it is no one more; where it has another one in the scope
                it is no one more there.

        Raises:
            LimitReachedError: when its scope, or the key itself, has too many.
        """
        own = self._store.keys_of(newcomer)
        if key in own:
            return
        held = self._store.peek(key)
        leaving = held if self._replaces(key) else ()
        if self.limits.per_scope is not None and not any(other.scope == key.scope for other in own):
            present = self._store.count((key.scope, ANY)) - sum(
                self._leaves_scope(each, key) for each in leaving
            )
            self._check("per_scope", present, key.scope)
        self._check("per_key", len(held) - len(leaving), key)

    def _leaves_scope(self, connection: Any, key: Key) -> bool:
        """Tell whether a connection that leaves a key has no other one in its scope."""
        return all(
            other == key or other.scope != key.scope for other in self._store.keys_of(connection)
        )

    def _replaces(self, key: Key) -> bool:
        """Tell whether a newcomer takes the place of who holds its key; of a store of another kind it is not known."""
        store = self._store
        if not isinstance(store, MemoryStore):
            return False
        return store.same_key_of(key.category) == "replace"

    def _check(self, name: str, present: int, whose: object) -> None:
        limit = getattr(self.limits, name)
        if limit is not None and present >= limit:
            raise LimitReachedError(name, limit, whose)
