"""The receivers of an address: the one place where a pattern or a key becomes a fan-out.

Whatever is sent by address goes through here, so this is where the history learns for whom an event
was, and where a bus between processes attaches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..keys import Pattern, as_pattern
from ..streams.fanout import Fanout
from ..streams.writer import check_name

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from ..history import History
    from ..keys import Exclude, Key, PatternLike
    from ..stores import Store
    from ..streams.connection import Connection
    from ..streams.delivery import Delivery
    from ..streams.writer import Writer
    from ..wire.event_stream import Event

__all__ = ("Kept", "Receivers")


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
        wanted = pattern if type(pattern) is Pattern else as_pattern(pattern)
        connections = self._store.connections(wanted, exclude=exclude)
        return self._address(connections, wanted, exclude)

    def at(self, key: Key, connections: Sequence[Connection]) -> Connection | Fanout | None:
        """Return what stands for the connections of a key; None where nothing would come of it.

        Args:
            key: the address.
            connections: those that it has.
        """
        kept = self.keeps(key)
        if len(connections) == 1 and not kept:
            return connections[0]
        # What the history keeps is worth sending also while no connection is there.
        return self._address(connections, key) if connections or kept else None

    def keeps(self, key: Key) -> bool:
        """Return whether what is sent to a key is kept for a client that comes back."""
        return self._history is not None and self._history.keeps(key)

    def _address(
        self, connections: Sequence[Connection], pattern: Key | Pattern, exclude: Exclude = ()
    ) -> Fanout:
        history = self._history
        if history is None or not history.keeps(pattern):
            return Fanout(connections, self._writer, pattern=pattern, exclude=exclude)
        return Kept(connections, self._writer, history, pattern, exclude)


class Kept(Fanout):
    """A fan-out whose events are kept for clients that come back, and get an id for that.

    Args:
        connections: the receivers that are here now.
        writer: writes what is delivered.
        history: keeps it.
        pattern: for which clients it is.
        exclude: for which it is not.
    """

    __slots__ = ("history",)

    def __init__(
        self,
        connections: Sequence[Connection],
        writer: Writer,
        history: History,
        pattern: Key | Pattern,
        exclude: Exclude = (),
    ) -> None:
        super().__init__(connections, writer, pattern=pattern, exclude=exclude)
        self.history: History = history

    def check(self, event_id: str | None) -> None:
        """Check that an event can be kept, before it is encoded.

        Raises:
            EventError: when the sender gave it an id.
        """
        if self.pattern is not None:
            self.history.check(self.pattern, event_id)

    def send(self, event: Event) -> Delivery:
        """Encode one event, keep it, and deliver it to all; see :meth:`.Fanout.send`."""
        self.check(event.id)
        return super().send(event)

    def deliver(self, payload: bytes, name: Hashable = None) -> Delivery:
        """Keep an encoded event and deliver it with its id; see :meth:`.Fanout.deliver`."""
        if self.pattern is not None:
            if name is not None:
                check_name(name)
            payload = self.history.append(self.pattern, payload, self.exclude)
        return super().deliver(payload, name)
