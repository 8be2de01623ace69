"""The receivers of an address: the one place where a pattern or a key becomes a fan-out.

Whatever is sent by address goes through here, so this is where the history learns for whom an event
was, and where a bus between processes attaches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..keys import as_audience
from ..streams.fanout import Fanout
from ..streams.writer import check_name

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from ..history import History
    from ..keys import Audience, Key
    from ..stores import Store
    from ..streams.connection import Connection
    from ..streams.delivery import Delivery
    from ..streams.fanout import Target
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

    def matching(self, audience: Audience) -> Fanout:
        """Return the fan-out to all connections of an audience."""
        connections = self._store.connections(audience.pattern, exclude=audience.exclude)
        history = self._history
        if history is None:
            return Fanout(connections, self._writer)
        return Kept(connections, self._writer, history, audience)

    def at(self, key: Key, connections: Sequence[Connection]) -> Target | None:
        """Return what stands for the connections of a key; None where nothing would come of it.

        Args:
            key: the address.
            connections: those that it has.
        """
        history = self._history
        if history is not None and history.keeps(key.category):
            # What the history keeps is worth sending also while no connection is there.
            return Kept(connections, self._writer, history, as_audience(key))
        if len(connections) == 1:
            return connections[0]
        return Fanout(connections, self._writer) if connections else None


class Kept(Fanout):
    """A fan-out whose events are kept for clients that come back, and get an id for that.

    Those of a category of which the history keeps nothing are delivered as they are.

    Args:
        connections: the receivers that are here now.
        writer: writes what is delivered.
        history: keeps it.
        audience: the keys it is for.
    """

    __slots__ = ("audience", "history")

    def __init__(
        self,
        connections: Sequence[Connection],
        writer: Writer,
        history: History,
        audience: Audience,
    ) -> None:
        # As Fanout's constructor, without a call for each event that is sent by address.
        self.connections: Sequence[Connection] = connections
        self.writer: Writer = writer
        self.deliveries: list[Delivery] = []
        self.history: History = history
        self.audience: Audience = audience

    def check(self, event_id: str | None) -> None:
        """Check that an event can be kept, before it is encoded.

        Raises:
            EventError: when the sender gave it an id.
        """
        self.history.check(self.audience, event_id)

    def send(self, event: Event) -> Delivery:
        """Encode one event, keep it, and deliver it to all; see :meth:`.Fanout.send`."""
        self.check(event.id)
        return super().send(event)

    def deliver(self, payload: bytes, name: Hashable = None) -> Delivery:
        """Keep an encoded event and deliver it with its id; see :meth:`.Fanout.deliver`."""
        if name is not None:
            check_name(name)
        return super().deliver(self.history.append(self.audience, payload), name)
