"""Check open streams on every tick: signs of life, heartbeats, stalls, lifetimes, rights.

How it works. A tick is a third of the heartbeat interval. In each tick every stream is checked
once, in slices, between which the event loop turns. Streams that are due end, and streams in doubt
are held, before anything more is written to them.

Law: **heartbeats renew nothing.** A lease is renewed when the client's kernel acknowledges bytes.
"""

from __future__ import annotations

import random
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

__all__ = ("TICKS_PER_HEARTBEAT", "Watch")

#: Ticks of the hub's timer in one heartbeat interval, 3. An idle stream gets a heartbeat between
#: two thirds of an interval and a whole one after its last event. One timer serves all streams.
TICKS_PER_HEARTBEAT: Final = 3

#: Share of ``max_age`` by which a stream may end earlier, 0.2: else all streams of a process that
#: was just started would end, and come back, together.
AGE_JITTER: Final = 0.2


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
        self.streams: dict[Connection, None] = {}
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
        # Ticks since the application was last asked; only for streams with revalidate.
        self._looks: dict[Connection, int] = {}

    def __repr__(self) -> str:
        return f"<Watch: {len(self.streams)} streams, {len(self._left_to_see)} to be looked at>"

    def add(self, connection: Connection) -> None:
        """Check a stream from now on."""
        # The first heartbeat comes earlier, at random: else streams opened together beat together.
        connection.idle_ticks = random.randrange(TICKS_PER_HEARTBEAT)  # noqa: S311  # no secret
        if self._max_age is not None:
            age = self._max_age * random.uniform(1 - AGE_JITTER, 1)  # noqa: S311  # no secret
            connection.ends_at = self._timer() + age
        self.streams[connection] = None

    def remove(self, connection: Connection) -> None:
        """Forget a stream that has ended."""
        self.streams.pop(connection, None)
        self._looks.pop(connection, None)
        self.questions.drop(connection)

    def begin(self) -> None:
        """Begin a check of every stream, also of those left from the last one."""
        self.questions.give_up()
        self._left_to_see = list(self.streams)
        self._left_to_see.reverse()

    def go_on(self) -> bool:
        """Check one slice of streams; return whether more are left."""
        seen = [self._left_to_see.pop() for _ in range(min(self._slice, len(self._left_to_see)))]
        for one in seen:
            self._look_for_life(one)
        now = self._timer()
        alive = [one for one in seen if one.reason is None and not self._end_if_due(one, now)]
        for one in alive:
            # A callback of another stream's end may have ended it.
            if one.revalidate is not None and one.reason is None:
                self._ask_if_due(one, one.revalidate)
        idle = [one for one in alive if one.idle_ticks >= TICKS_PER_HEARTBEAT and not one.outbox]
        if idle:
            self._writer.deliver(idle, self._heartbeat)
        return bool(self._left_to_see)

    def _look_for_life(self, connection: Connection) -> None:
        if connection.read_acknowledged():
            self._store.renew(connection)
            connection.stalled_ticks = 0
        elif connection.outbox and not connection.held:
            connection.stalled_ticks += 1
        connection.idle_ticks += 1

    def _end_if_due(self, connection: Connection, now: float) -> bool:
        if connection.expires_at <= now:
            connection.close(reconnect=False, reason="revoked")
        elif connection.ends_at <= now:
            connection.close(reason="server")
        elif connection.stalled_ticks > self._stalled_ticks:
            connection.close(reason="slow")
        else:
            return False
        return True

    def _ask_if_due(self, connection: Connection, revalidate: Revalidate) -> None:
        if connection in self.questions:
            return
        # Not idle_ticks: a busy stream is never idle, and its client's rights may end too.
        looks = self._looks.get(connection, random.randrange(TICKS_PER_HEARTBEAT)) + 1  # noqa: S311  # no secret
        self._looks[connection] = looks % TICKS_PER_HEARTBEAT
        if looks == TICKS_PER_HEARTBEAT:
            self.questions.ask(connection, revalidate)
