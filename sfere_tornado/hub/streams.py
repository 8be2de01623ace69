"""Every open stream of a hub, from its admission to its end, and the one way out.

How a stream ends. The client, a bound, the server or an error ends the :class:`.Connection`, which
calls :meth:`Streams.end`, once. That method does all that has to be done, in one order: the watch,
the limits, then the dispatch of ``sse_closed`` through the chain, in which the sfere interceptor
purges the store; then, whatever the chain did, the store and presence; last the handler's own
listener.

Laws:

- **Nothing that an application may override, replace or raise keeps a stream from ending.** No
  method of a handler stands between the socket and :meth:`Streams.end`, and what the chain was to
  do is done after it again: a second purge finds nothing.
- **A departure waits for nothing.** A stage that must be awaited does not run here.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..callbacks import call_guarded
from ..effects.streams import sse_closed
from ..effects.visit import Visit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ..dispatch import Dispatcher
    from ..presence.feed import PresenceFeed
    from ..stores import Store
    from ..stores.admission import Admission
    from ..streams.connection import Connection
    from ..streams.writer import Writer
    from .life import Life
    from .questions import Questions
    from .watch import Watch

__all__ = ("Streams",)

log: logging.Logger = logging.getLogger("sfere_tornado.hub")


class Streams:
    """The streams of a hub that count against its limits, in the order of coming.

    Args:
        store: where connections are stored by key.
        watch: looks after open streams.
        admission: counts them against the limits.
        life: the hub's.
        writer: writes what is delivered.
        dispatcher: through whose chain an end is said.
        system: the hub's.
        feed: records that a connection has departed, and tells the others; None without presence.
    """

    def __init__(
        self,
        store: Store[Connection],
        watch: Watch,
        admission: Admission,
        life: Life,
        writer: Writer,
        dispatcher: Dispatcher,
        system: Mapping[str, Any],
        feed: PresenceFeed | None,
    ) -> None:
        self._store = store
        self._watch = watch
        #: Counts streams against the limits.
        self.admission: Admission = admission
        self._life = life
        #: Writes what is delivered.
        self.writer: Writer = writer
        self._dispatcher = dispatcher
        self._system = system
        #: Tells of presence; None without it.
        self.feed: PresenceFeed | None = feed
        self._visits: dict[Connection, Visit] = {}

    def __repr__(self) -> str:
        return f"<Streams: {len(self._visits)}>"

    def __len__(self) -> int:
        return len(self._visits)

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._visits)

    def __contains__(self, connection: object) -> bool:
        return connection in self._visits

    @property
    def draining(self) -> bool:
        """Whether newcomers are sent away, because the hub is being drained."""
        return self._life.draining

    @property
    def questions(self) -> Questions:
        """The questions about the rights of clients."""
        return self._watch.questions

    def welcome(self) -> bool:
        """Start the hub for a first stream; return whether new streams are welcome."""
        return self._life.welcome()

    def let_go(self, end_request: Callable[[], object]) -> None:
        """End the request of a stream whose socket has closed: in this call, or soon."""
        self._life.let_go(end_request)

    def serve(self, server: Any) -> None:
        """Record a server that a drain of the hub stops."""
        self._life.servers.append(server)

    def openers(self) -> list[asyncio.Task[Any]]:
        """Return the tasks of the requests that have opened the streams."""
        return [visit.opener for visit in self._visits.values() if visit.opener is not None]

    def admit(self, connection: Connection, visit: Visit) -> None:
        """Count a stream against the limits, before anything else is done for it.

        Raises:
            LimitReachedError: when there are too many; nothing was counted then.
        """
        self.admission.enter(connection.remote)
        self._visits[connection] = visit
        visit.admitted = True

    def opened(self, connection: Connection, visit: Visit | None = None) -> None:
        """Look after a stream whose response was begun by the present task.

        A stream that has ended is left alone.
        """
        if connection.reason is not None:
            return
        visit = self._visits.setdefault(connection, visit or Visit(connection))
        visit.opened = True
        with suppress(RuntimeError):  # no event loop runs, in a test
            visit.opener = asyncio.current_task()
        self._watch.add(connection)
        self._life.set_alarm()

    def end(self, connection: Connection) -> None:
        """Do everything that the end of a stream asks for; see the module.

        Args:
            connection: the stream, whose ``reason`` says why it has ended; one that was never
                admitted is purged, and nothing is said of it.
        """
        visit = self._visits.pop(connection, None)
        self._watch.remove(connection)
        if visit is not None and visit.admitted:
            self.admission.leave(connection.remote)
        # Of a stream that was refused, or left before it was stored, there is nothing to say.
        news = visit is not None and (visit.opened or connection.key is not None)
        try:
            if visit is not None and news:
                call_guarded(log, "the closing", self._say, connection, visit)
        finally:
            self._store.purge_connection(connection)
            if self.feed is not None:
                self.feed.depart(connection)
        if visit is not None and news and visit.on_close is not None:
            call_guarded(log, "on_close", visit.on_close, connection)

    def _say(self, connection: Connection, visit: Visit) -> None:
        self._dispatcher.dispatch(
            sse_closed(),
            system={**self._system, **visit.system, "sse": connection},
            chain=visit.chain,
            kind="closing",
            subject=visit,
        )
