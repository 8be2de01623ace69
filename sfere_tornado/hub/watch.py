"""Check open streams on every tick: signs of life, heartbeats, stalls, lifetimes, rights.

How it works. A tick is a third of the heartbeat interval. In each tick every stream is checked
once, in slices, between which the event loop turns. Streams that are due end, and streams in doubt
are paused, before anything more is written to them.

Law: **heartbeats renew nothing.** A lease is renewed when the client's kernel acknowledges bytes.
"""

from __future__ import annotations

import random
from math import inf
from typing import TYPE_CHECKING, Any, Final

from ..wire.event_stream import comment
from .questions import Questions

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Callable, Coroutine

    from ..config import StreamConfig
    from ..stores import Store
    from ..streams.connection import Connection
    from ..streams.writer import Writer
    from .questions import Revalidate

__all__ = ("TICKS_PER_HEARTBEAT", "Watch", "Watched")

#: Ticks of the hub's timer in one heartbeat interval, 3. An idle stream gets a heartbeat between
#: two thirds of an interval and a whole one after its last event. One timer serves all streams.
TICKS_PER_HEARTBEAT: Final = 3

#: Share of ``max_age`` by which a stream may end earlier, 0.2: else all streams of a process that
#: was just started would end, and come back, together.
AGE_JITTER: Final = 0.2


class Watched:
    """What the watch knows of one stream.

    Args:
        idle_ticks: see the attribute.
        ends_at: when its lifetime ends, on the hub's clock.
        revalidate: asks whether the client may stay; None asks not.
    """

    __slots__ = (
        "acknowledged",
        "asked_ticks",
        "drains",
        "ends_at",
        "idle_ticks",
        "revalidate",
        "stalled_ticks",
    )

    def __init__(self, idle_ticks: int, ends_at: float, revalidate: Revalidate | None) -> None:
        #: Ticks since the last write.
        self.idle_ticks: int = idle_ticks
        #: Ticks since some of what waits has gone.
        self.stalled_ticks: int = 0
        #: Bytes that the client's kernel had acknowledged in the last tick.
        self.acknowledged: int = 0
        #: How often the transport had sent all that it had, in the last tick.
        self.drains: int = 0
        #: When its lifetime ends. The stream is cut then; the client comes back.
        self.ends_at: float = ends_at
        #: Asks at each heartbeat interval whether the client may stay.
        self.revalidate: Revalidate | None = revalidate
        #: Ticks since it was last asked. Not idle_ticks: a busy stream is never idle, and its
        #: client's rights may end too.
        self.asked_ticks: int = random.randrange(TICKS_PER_HEARTBEAT)  # noqa: S311  # no secret

    def __repr__(self) -> str:
        return f"<Watched: idle {self.idle_ticks}, stalled {self.stalled_ticks} ticks>"


class Watch:
    """Every open stream, stored or not, and its checks.

    Args:
        settings: heartbeat, stall, ``max_age``, ``revalidate_timeout``; ``fan_out_slice``
            is the number of streams in a slice.
        store: renews the leases.
        writer: writes the heartbeats.
        timer: the hub's clock.
        spawn: runs a coroutine as a task.
    """

    def __init__(
        self,
        settings: StreamConfig,
        store: Store[Connection],
        writer: Writer,
        timer: Callable[[], float],
        spawn: Callable[[Coroutine[Any, Any, None]], Task[None]],
    ) -> None:
        #: The open streams, in the order of opening.
        self.streams: dict[Connection, Watched] = {}
        #: Questions about the rights of clients.
        self.questions: Questions = Questions(settings.revalidate_timeout, timer, spawn)
        self.tick_seconds: float = settings.heartbeat / TICKS_PER_HEARTBEAT
        self._stalled_ticks = settings.stall / self.tick_seconds
        self._max_age = settings.max_age
        self._slice = settings.fan_out_slice
        self._store = store
        self._writer = writer
        self._timer = timer
        self._heartbeat = comment()
        self._left_to_see: list[Connection] = []

    def __repr__(self) -> str:
        return f"<Watch: {len(self.streams)} streams, {len(self._left_to_see)} to be looked at>"

    def add(self, connection: Connection, revalidate: Revalidate | None = None) -> None:
        """Check a stream from now on.

        Args:
            connection: the stream.
            revalidate: asks, at each heartbeat interval, whether the client may stay.
        """
        ends_at = inf
        if self._max_age is not None:
            age = self._max_age * random.uniform(1 - AGE_JITTER, 1)  # noqa: S311  # no secret
            ends_at = self._timer() + age
        # The first heartbeat comes earlier, at random: else streams opened together beat together.
        idle_ticks = random.randrange(TICKS_PER_HEARTBEAT)  # noqa: S311  # no secret
        self.streams[connection] = Watched(idle_ticks, ends_at, revalidate)

    def remove(self, connection: Connection) -> None:
        """Forget a stream that has ended."""
        self.streams.pop(connection, None)
        self.questions.drop(connection)

    def begin(self) -> None:
        """Begin a check of every stream, also of those left from the last one."""
        self.questions.give_up()
        self._left_to_see = list(self.streams)
        self._left_to_see.reverse()

    def go_on(self) -> bool:
        """Check one slice of streams; return whether more are left."""
        seen = [self._left_to_see.pop() for _ in range(min(self._slice, len(self._left_to_see)))]
        checked = [
            (connection, watched)
            for connection in seen
            if (watched := self.streams.get(connection)) is not None
        ]
        for connection, watched in checked:
            self._look_for_life(connection, watched)
        now = self._timer()
        alive = [
            (connection, watched)
            for connection, watched in checked
            # A callback of another stream's end may have ended it.
            if connection.reason is None and not self._end_if_due(connection, watched, now)
        ]
        for connection, watched in alive:
            if watched.revalidate is not None and connection.reason is None:
                self._ask_if_due(connection, watched, watched.revalidate)
        idle = [
            connection
            for connection, watched in alive
            if watched.idle_ticks >= TICKS_PER_HEARTBEAT and not connection.outbox
        ]
        if idle:
            self._writer.deliver(idle, self._heartbeat)
        return bool(self._left_to_see)

    def _look_for_life(self, connection: Connection, watched: Watched) -> None:
        acknowledged = connection.acknowledged()
        if acknowledged is not None and acknowledged > watched.acknowledged:
            watched.acknowledged = acknowledged
            self._store.renew(connection)
            watched.stalled_ticks = 0
        elif connection.drains != watched.drains:
            watched.stalled_ticks = 0
        elif connection.outbox and not connection.state.paused:
            watched.stalled_ticks += 1
        watched.drains = connection.drains
        watched.idle_ticks = watched.idle_ticks + 1 if connection.idle else 1
        connection.idle = True

    def _end_if_due(self, connection: Connection, watched: Watched, now: float) -> bool:
        if connection.expires_at <= now:
            connection.close(reconnect=False, reason="revoked")
        elif watched.ends_at <= now:
            connection.close(reason="server")
        elif watched.stalled_ticks > self._stalled_ticks:
            connection.close(reason="slow")
        else:
            return False
        return True

    def _ask_if_due(self, connection: Connection, watched: Watched, revalidate: Revalidate) -> None:
        if connection in self.questions:
            return
        watched.asked_ticks += 1
        if watched.asked_ticks >= TICKS_PER_HEARTBEAT:
            watched.asked_ticks = 0
            self.questions.ask(connection, revalidate)
