"""The arrival of a connection: it is counted, stored under its key, and recorded by presence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import StoreError

if TYPE_CHECKING:
    from ..history import History
    from ..keys import Key
    from ..presence.feed import PresenceFeed
    from ..stores import Store
    from ..stores.admission import Admission
    from ..streams.connection import Connection
    from .visit import Visit

__all__ = ("Arrivals",)


class Arrivals:
    """Stores connections under their keys.

    Args:
        store: where.
        admission: refuses a newcomer whose scope or key has too many; None refuses none.
        history: where a replay ends and live events begin; None without one.
        presence: is told of each connection that was stored; None without presence.
    """

    __slots__ = ("_admission", "_history", "_presence", "_store")

    def __init__(
        self,
        store: Store[Connection],
        admission: Admission | None = None,
        history: History | None = None,
        presence: PresenceFeed | None = None,
    ) -> None:
        self._store = store
        self._admission = admission
        self._history = history
        self._presence = presence

    def put(self, key: Key, connection: Connection, visit: Visit) -> None:
        """Store a connection under a key, unless its client has left.

        Nothing is awaited between the look whether the client is there and the put: a client that
        left in between would stay in the store for ever.

        Args:
            key: the whole key.
            connection: the connection.
            visit: its visit, which learns where its live events begin.

        Raises:
            LimitReachedError: when its scope, or the key, has too many; nothing has changed.
            StoreError: when the store does not take it; nothing has changed.
            PresenceFullError: when there are too many members; the connection is stored then, and
                the caller ends it.
        """
        if connection.closed:
            return
        if self._admission is not None:
            self._admission.check_key(key, connection)
        is_first = connection.key is None
        if is_first:
            # Before the put, whose callbacks may end this very connection.
            connection.key = key
        try:
            self._store.put(key, connection)
        except StoreError:
            if is_first:
                connection.key = None
            raise
        if self._history is not None:
            # From here on its events wait for it; what came before is replayed, up to just here.
            visit.mark = self._history.mark()
        # A callback of the put may have ended it.
        if self._presence is not None and connection.reason is None:
            meta = visit.meta_of() if callable(visit.meta_of) else visit.meta_of
            self._presence.arrive(key, connection, meta or {})
