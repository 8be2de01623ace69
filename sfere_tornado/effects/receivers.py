"""The receivers of an address: the one place where a pattern or a key becomes a fan-out.

Whatever is sent by address goes through here, so this is where the history learns for whom an event
was, and where a bus between processes attaches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..keys import as_pattern
from ..streams.fanout import Fanout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..history import History
    from ..keys import Exclude, Key, PatternLike
    from ..stores import Store
    from ..streams.connection import Connection
    from ..streams.writer import Writer

__all__ = ("Receivers",)


class Receivers:
    """Makes fan-outs of addresses.

    Args:
        store: where the connections are.
        writer: writes what is delivered.
        history: keeps what is sent by address; None keeps nothing.
    """

    __slots__ = ("_history", "_store", "_writer")

    def __init__(
        self, store: Store[Connection], writer: Writer, history: History | None = None
    ) -> None:
        self._store = store
        self._writer = writer
        self._history = history

    def matching(self, pattern: PatternLike, exclude: Exclude = ()) -> Fanout:
        """Return the fan-out to all connections that match a pattern.

        Raises:
            KeyShapeError: when pattern or exclude has another shape.
        """
        wanted = as_pattern(pattern)
        connections = self._store.connections(wanted, exclude=exclude)
        return Fanout(connections, self._writer, pattern=wanted, exclude=exclude)

    def at(self, key: Key, connections: Sequence[Connection]) -> Connection | Fanout | None:
        """Return what stands for the connections of a key; None where nothing would come of it.

        Args:
            key: the address.
            connections: those that it has.
        """
        kept = self.keeps(key)
        if len(connections) == 1 and not kept:
            return connections[0]
        # Where the history keeps what is sent, it is worth sending also while no connection is there.
        return Fanout(connections, self._writer, pattern=key) if connections or kept else None

    def keeps(self, key: Key) -> bool:
        """Tell whether what is sent to a key is kept for a client that comes back."""
        history = self._history
        return history is not None and history.categories.get(key.category, history.keep).count > 0
