"""Gather what is delivered in one turn of the event loop, and write it.

When the turn is over, everything that was gathered for one receiver leaves in one send. Receivers
that got the same events get the same bytes object, joined and framed once. A large fan-out is
written in slices; between them the loop notices closes and answers requests.

How it works. Each call of :meth:`Writer.deliver` makes, or joins, a :class:`Delivery`: events for
the same receivers. The first event of a turn for a single receiver leaves in that call, while no
fan-out waits to be written: a stream that is fed by itself waits for nothing. Everything else is
gathered. At the end of the turn the deliveries become jobs, see :mod:`.jobs`: groups of receivers
that have the same deliveries before them. A receiver's ``write`` is the socket's own ``send`` while
nothing waits for it.

Laws:

- **The order of writing is the order of dispatch**, for every receiver. What is delivered while
  jobs are written waits until they are done.
- **No stream ends while effects run.** A receiver that fails in the call of :meth:`Writer.deliver`
  ends when the turn is over.
- **Without an event loop everything is written** before the outermost :meth:`Writer.deliver`
  returns.

Not thread-safe: use a writer in the thread of its event loop.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final

from ..defaults import SLICE
from ..wire.compression import PLAIN
from ..wire.framing import chunked
from .delivery import Delivery
from .jobs import NOT_NOW, give_up, plan, write_job

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from ..wire.compression import SharedCompressor
    from .delivery import Receiver, Wakeup
    from .jobs import Job

__all__ = ("AT_ONCE", "MAX_TURN", "Writer", "check_name")

log: logging.Logger = logging.getLogger("sfere_tornado.streams.writer")

#: Bytes of events gathered in one turn before they are written, 1 MiB. It bounds the memory of code
#: that dispatches and never lets the loop turn.
MAX_TURN: Final = 1024 * 1024


class _Index:
    """What each receiver is still to get, looked up without a walk through all of it.

    Made when the first stream ends, and extended by what came since: a turn that sends to each of
    many streams and closes it would otherwise look through every delivery at every close.
    """

    __slots__ = ("_deliveries_seen", "_jobs_seen", "deliveries", "jobs")

    def __init__(self) -> None:
        #: For each receiver its deliveries of this turn, and its jobs with its place in each.
        self.deliveries: dict[Receiver, list[Delivery]] = {}
        self.jobs: dict[Receiver, list[tuple[Job, int]]] = {}
        self._deliveries_seen = 0
        self._jobs_seen = False

    def extend(self, jobs: Iterable[Job], gathered: Sequence[Delivery]) -> None:
        """Add what is not in the index yet; jobs come all together, deliveries one by one."""
        if not self._jobs_seen:
            self._jobs_seen = True
            for job in jobs:
                for place in range(job.position, len(job.receivers)):
                    self.jobs.setdefault(job.receivers[place], []).append((job, place))
        for position in range(self._deliveries_seen, len(gathered)):
            for receiver in gathered[position].receivers:
                self.deliveries.setdefault(receiver, []).append(gathered[position])
        self._deliveries_seen = len(gathered)


class _Turn:
    """What was delivered in one turn of the event loop."""

    __slots__ = ("fans_out", "gathered", "reached", "sealed", "size")

    def __init__(self) -> None:
        #: Deliveries that wait for the end of the turn, and the bytes of their events.
        self.gathered: list[Delivery] = []
        self.size = 0
        #: Whether the next event makes a new delivery, also for the same receivers.
        self.sealed = False
        #: Whether one of them has several receivers.
        self.fans_out = False
        #: Single receivers that had an event in this turn.
        self.reached: set[Receiver] = set()

    def end(self) -> list[Delivery]:
        """Begin the next turn; return what was gathered."""
        gathered, self.gathered = self.gathered, []
        self.size, self.fans_out = 0, False
        self.reached.clear()
        return gathered


class Writer:
    """Writes what is delivered in a turn of the event loop.

    Args:
        slice_size: receivers written to before the loop turns.
    """

    __slots__ = (
        "_call_soon",
        "_create_future",
        "_index",
        "_jobs",
        "_scheduled",
        "_served",
        "_turn",
        "_writing",
        "compressor",
        "slice_size",
    )

    def __init__(
        self, *, slice_size: int = SLICE, compressor: SharedCompressor | None = None
    ) -> None:
        self.slice_size: int = slice_size
        self.compressor: SharedCompressor | None = compressor
        self._call_soon: Callable[[Callable[[], None]], object] | None = None
        self._create_future: Callable[[], Wakeup] | None = None
        self._turn = _Turn()
        self._jobs: deque[Job] = deque()
        # None until a stream ends.
        self._index: _Index | None = None
        self._scheduled = False
        # Receivers that were handed out what was pending, and which deliveries that was.
        self._served: dict[Receiver, set[Delivery]] = {}
        # Whether a flush is under way. Its loop also writes what callbacks of ends deliver: one
        # nested call for each of a thousand dead receivers would be too deep.
        self._writing = False

    def __repr__(self) -> str:
        return (
            f"<Writer: {len(self._turn.gathered)} deliveries gathered,"
            f" {len(self._jobs)} jobs under way>"
        )

    @property
    def pending(self) -> bool:
        """Whether something has been delivered and not yet written."""
        return bool(self._turn.gathered or self._jobs)

    def meet(
        self,
        call_soon: Callable[[Callable[[], None]], object] | None,
        create_future: Callable[[], Wakeup] | None = None,
    ) -> None:
        """Gather by turns of an event loop from now on; without one, write in each call.

        Args:
            call_soon: The loop's; None for no loop.
            create_future: The loop's, with which :meth:`.Delivery.settled` waits.
        """
        self.flush()
        self._turn.end()
        self._call_soon, self._create_future = call_soon, create_future
        self._scheduled = False

    def deliver(
        self, receivers: Sequence[Receiver], payload: bytes, name: Hashable = None
    ) -> Delivery:
        """Deliver one encoded event.

        Args:
            receivers: each once; the sequence must not be changed afterwards.
            payload: bytes of the event stream, not framed.
            name: replaces a waiting event of the same name, if the receiver conflates.

        Returns:
            What becomes of it; events for the same receivers in the same turn share one.

        Raises:
            TypeError: The name is not hashable; nothing is delivered then.
        """
        if name is not None:
            # Here, before anything is gathered: in a job it would stop the writing for others.
            check_name(name)
        turn = self._turn
        last = turn.gathered[-1] if turn.gathered else None
        if (
            last is not None
            and not turn.sealed
            and (last.receivers is receivers or last.receivers == receivers)
        ):
            delivery = last
            delivery.payloads.append(payload)
            delivery.names.append(name)
        else:
            delivery = Delivery(receivers, self._create_future)
            delivery.payloads.append(payload)
            delivery.names.append(name)
            if len(receivers) == 1 and self._sends_first(receivers[0], delivery):
                delivery.done = True
                return delivery
            turn.sealed = False
            turn.gathered.append(delivery)
            if len(receivers) == 1:
                turn.reached.add(receivers[0])
            else:
                turn.fans_out = True
        turn.size += len(payload)
        if not self._writing and (turn.size > MAX_TURN or self._call_soon is None):
            self.flush()
        elif self._call_soon is not None and not self._scheduled:
            self._scheduled = True
            self._call_soon(self._write_slice)
        return delivery

    def _sends_first(self, receiver: Receiver, delivery: Delivery) -> bool:
        """Send an event if nothing that was delivered before waits; return False if it must wait.

        Nothing ends here, in the middle of an effect. A receiver that has failed takes nothing any
        more, and ends when the turn is over.
        """
        turn = self._turn
        if (
            turn.fans_out
            or self._jobs
            or self._writing
            or self._call_soon is None
            or receiver in turn.reached
            # Compressing alone, out of turn, would tear the context that it shares with others.
            or (self.compressor is not None and receiver.step != PLAIN)
        ):
            return False
        framed = chunked(delivery.payloads[0])
        receiver.idle = False
        outcome: int | OSError
        try:
            outcome = receiver.write(framed)
        except OSError as error:
            outcome = error.with_traceback(None)
        if outcome == NOT_NOW:
            return False
        turn.reached.add(receiver)
        if not self._scheduled:
            self._scheduled = True
            self._call_soon(self._write_slice)
        if outcome == len(framed):
            return True
        try:
            return receiver.take((delivery,), framed, outcome)
        except Exception:
            log.exception("%r failed to take an event; its stream ends", receiver)
            return False

    def flush(self) -> None:
        """Write everything that has been delivered, now."""
        writing, self._writing = self._writing, True
        try:
            while self.pending:
                self._write(None)
        finally:
            self._writing = writing

    def hand_out(self, receiver: Receiver) -> tuple[list[bytes], set[Delivery]]:
        """Return what was delivered to a receiver and is not yet written, and the deliveries.

        The order is that of delivery. The caller writes it: the last events of a stream that ends
        must not wait, and those of the other receivers need not be written for them. The caller
        also ends a job of each delivery, when it knows what has become of the events.
        """
        payloads: list[bytes] = []
        handed: set[Delivery] = set()
        index = self._index = self._index or _Index()
        index.extend(self._jobs, self._turn.gathered)
        for job, place in index.jobs.get(receiver, ()):
            if place >= job.position:
                for delivery in job.deliveries:
                    payloads += delivery.payloads
                handed.update(job.deliveries)
        for delivery in index.deliveries.get(receiver, ()):
            payloads += delivery.payloads
            handed.add(delivery)
        if payloads:
            self._served[receiver] = handed
            for delivery in handed:
                delivery.add_jobs(1)
            # Later events for the same receivers make a new delivery: this receiver does not get
            # them.
            self._turn.sealed = True
        return payloads, handed

    def _write_slice(self) -> None:
        self._scheduled = False
        if not (self._turn.gathered or self._jobs):
            # Each receiver got one event, which left immediately.
            self._turn.end()
            return
        self._write(self.slice_size)
        if self.pending and not self._scheduled and self._call_soon is not None:
            self._scheduled = True
            self._call_soon(self._write_slice)

    def _write(self, limit: int | None) -> None:
        if not self._jobs:
            gathered, self._index = self._turn.end(), None
            # Under constant load something is always pending, so what is done is dropped here.
            if self._served:
                self._served = {
                    receiver: handed
                    for receiver, handed in self._served.items()
                    if not all(delivery.done for delivery in handed)
                }
            try:
                self._jobs.extend(plan(gathered, self.compressor))
            except BaseException:
                give_up(gathered)
                raise
        while self._jobs and (limit is None or limit > 0):
            job = self._jobs[0]
            begin = job.position
            end = len(job.receivers) if limit is None else min(begin + limit, len(job.receivers))
            receivers = job.receivers
            if end - begin < len(receivers):
                receivers = receivers[begin:end]
            job.position = end
            if end == len(job.receivers):
                self._jobs.popleft()
            if limit is not None and len(job.receivers) > 1:
                # A single receiver costs less than the dispatch to it. If it counted, many tasks
                # that each feed one stream would deliver faster than this writes.
                limit -= len(receivers)
            write_job(job, receivers, self._served)
        if not self.pending:
            self._served.clear()
            self._index = None


def check_name(name: Hashable) -> None:
    """Check the name under which an event may be replaced while it waits.

    Raises:
        TypeError: The name is not hashable, such as a list.
    """
    try:
        hash(name)
    except TypeError:
        raise TypeError(
            f"conflate={name!r} is not a valid name: it is not hashable; use a string or a tuple"
        ) from None


#: For connections without a hub: whatever they are given is written at once.
AT_ONCE: Final = Writer()
