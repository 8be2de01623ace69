"""How many streams may be open: in all, for a scope, under a key, from an address.

Only addresses are counted here; the store knows the other numbers. Everything is pure: the code
that opens a stream asks first, and says when the stream has ended.

A limit stops a client that opens streams without end, and a day when all clients come. It is not
fairness: behind one address there may be a whole company.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ..errors import LimitReachedError
from ..keys import ANY, Pattern

if TYPE_CHECKING:
    from ..config import LimitsConfig
    from ..keys import Key
    from .base import Store

__all__ = ("Admission",)


class Admission:
    """Says whether one more stream may be opened.

    Args:
        limits: the numbers; None is no limit.
        store: where stored connections are counted.
    """

    def __init__(self, limits: LimitsConfig, store: Store[Any]) -> None:
        self.limits: LimitsConfig = limits
        self._store: Store[Any] = store
        self._open: Counter[str] = Counter()
        #: Streams that have entered and not left.
        self.total: int = 0
        #: Streams that the system has open files for; None when it has enough for the limits, or
        #: nothing has asked it.
        self.files: int | None = None

    def __repr__(self) -> str:
        return f"<Admission: {self.total} streams from {len(self._open)} addresses>"

    def enter(self, remote: str) -> None:
        """Count a stream from an address, before anything else is done for it.

        Raises:
            LimitReachedError: when there are too many in all, from the address, or for the files
                that the process may have open; nothing was counted then.
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
        """Record that a stream that had entered has ended."""
        self.total -= 1
        self._open[remote] -= 1
        if self._open[remote] <= 0:
            del self._open[remote]

    def check_key(self, key: Key, newcomer: object) -> None:
        """Check that a connection may be stored under a key.

        Args:
            key: the whole key.
            newcomer: the connection. One that has the key already is not one more, nor is one that
                has another key of the scope one more in the scope. Connections that leave for it
                are not counted.

        Raises:
            LimitReachedError: when its scope, or the key itself, has too many.
        """
        limits, store = self.limits, self._store
        under_key = 0 if limits.per_key is None else len(store.peek(key))
        in_scope = 0 if limits.per_scope is None else store.count(_scope_of(key))
        if (limits.per_key is None or under_key < limits.per_key) and (
            limits.per_scope is None or in_scope < limits.per_scope
        ):
            # The usual way, in one call of the store. What follows only makes the numbers smaller.
            return
        own = store.keys_of(newcomer)
        if key in own:
            return
        leaving = store.leaving(key, newcomer)
        if not any(other.scope == key.scope for other in own):
            leave_scope = sum(self._leaves_scope(each, key) for each in leaving)
            self._check("per_scope", in_scope - leave_scope, key.scope)
        self._check("per_key", under_key - len(leaving), key)

    def _leaves_scope(self, connection: Any, key: Key) -> bool:
        """Tell whether a connection that leaves a key has no other one in its scope."""
        return all(
            other == key or other.scope != key.scope for other in self._store.keys_of(connection)
        )

    def _check(self, name: str, present: int, whose: object) -> None:
        limit = getattr(self.limits, name)
        if limit is not None and present >= limit:
            raise LimitReachedError(name, limit, whose)


def _scope_of(key: Key) -> Pattern:
    return Pattern(key.scope, (ANY, ANY))
