"""What was dispatched in one turn of the event loop, and its writing.

Nothing is written while effects run. What they deliver is gathered, and written when the turn is over: everything that
one receiver got in it leaves in one send, and receivers that got the same get the very same bytes, joined and framed
once. Large fan-outs are written in slices, between which the loop turns, so that closes are noticed and other requests
answered meanwhile.

How it works. Each call of :meth:`Writer.deliver` makes, or joins, a :class:`Delivery`: events for the same receivers. At
the end of the turn the deliveries become jobs: groups of receivers that have the same deliveries before them. A job's
loop calls each receiver's ``write``, which is the socket's own ``send`` as long as nothing waits for it; whoever did not
take all of the bytes that way is looked at after the loop.

Laws:

- **The order of writing is the order of dispatch**, for every receiver: what comes while jobs are being written waits
  until they are done.
- **The loop over receivers allocates nothing, calls nothing but** ``write``, **and ends nobody.** Those who failed are
  ended after it, so that whatever their end sets off meets a finished loop; it may deliver, flush and close.
- **Without an event loop everything is written at once**, before the outermost :meth:`Writer.deliver` returns.

Not thread-safe: a writer is used from the thread of its event loop.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, TypeAlias

from ..defaults import SLICE
from ..wire.framing import chunked

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable, Mapping, Sequence

    from ..keys import Key
    from ..wire.compression import Share, SharedCompressor

__all__ = ("AT_ONCE", "MAX_TURN", "Delivery", "Failure", "Reason", "Receiver", "Writer")

Reason: TypeAlias = Literal[
    "client", "timeout", "slow", "expired", "replaced", "revoked", "shutdown", "server", "error"
]  # why a connection closed, finer than a store's cause

#: Bytes of events gathered in one turn before they are written, 1 MiB: who dispatches without ever giving the loop a turn
#: writes them himself.
MAX_TURN: Final = 1024 * 1024


#: What ``write`` returns where nothing was taken and the events themselves are wanted.
NOT_NOW: Final = -1


class Receiver(Protocol):
    """**Protocol:** one connection, as the writer needs it."""

    #: Where it is stored, or None.
    key: Key | None
    #: Takes framed bytes and returns how many it took; anything but all of them, or an OSError, is for :meth:`take`.
    write: Callable[[bytes], int]
    #: Set to 0 with each write.
    idle_ticks: int
    #: Which compressed bytes it can read; see :mod:`.compression`.
    step: int
    #: Bytes that wait for its socket.
    outbox: int

    def take(
        self,
        payloads: Sequence[bytes],
        names: Sequence[Hashable],
        framed: bytes,
        outcome: int | OSError,
    ) -> bool:
        """Take what ``write`` did not take whole; returns False when the receiver must be settled."""

    def settle(self) -> Reason:
        """End the stream of a receiver that did not take what was written; returns the reason."""


class Failure(NamedTuple):
    """One receiver that did not get everything: its key (None when it was never stored), the connection, the reason."""

    key: Key | None
    connection: Any
    reason: Reason


class Delivery:
    """What becomes of events for the same receivers; complete when :attr:`done`, which awaiting :meth:`settled` waits for.

    Args:
        receivers: who is to get them, each once.
    """

    __slots__ = ("_jobs", "done", "failures", "names", "payloads", "receivers", "waited")

    def __init__(self, receivers: Sequence[Receiver]) -> None:
        self.receivers: Sequence[Receiver] = receivers
        #: The events, encoded and not yet framed; and for each the name under which it may be replaced, or None.
        self.payloads: list[bytes] = []
        self.names: list[Hashable] = []
        #: Receivers that did not take them.
        self.failures: list[Failure] = []
        #: Receivers whose socket did not take everything at once, so that some of it waits for them.
        self.waited: int = 0
        #: Whether everything has been written, or waits for its receiver.
        self.done: bool = False
        self._jobs = 0

    def __repr__(self) -> str:
        state = "done" if self.done else "under way"
        return f"<Delivery {state}: {self.reached} reached, {self.waited} waited, {len(self.failures)} failed>"

    @property
    def reached(self) -> int:
        """How many receivers took the events; those not yet written to are counted as if they will."""
        return len(self.receivers) - len(self.failures)

    async def settled(self) -> Delivery:
        """Wait until it is done; returns the delivery."""
        await _Turns(self)
        return self


class _Turns:
    """Waits by giving the event loop its turns: what is waited for is written in the next few of them."""

    __slots__ = ("_delivery",)

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery

    def __await__(self) -> Generator[None, None, None]:
        while not self._delivery.done:
            yield


class _Job:
    """Receivers with the same deliveries before them, and how far they have been written to."""

    __slots__ = (
        "before",
        "delivery",
        "framed",
        "names",
        "parts",
        "payloads",
        "position",
        "receivers",
    )

    def __init__(
        self, before: _Job | None, delivery: Delivery, receivers: Sequence[Receiver]
    ) -> None:
        self.before = before
        self.delivery = delivery
        self.receivers = receivers
        self.position = 0
        #: Parts that are being written: one inside another, where somebody's end has everything written at once.
        self.parts = 0
        self.payloads: Sequence[bytes] = ()
        self.names: Sequence[Hashable] = ()
        #: None where every receiver has to take the events themselves.
        self.framed: bytes | None = b""

    def deliveries(self) -> list[Delivery]:
        """Return the deliveries, first to last."""
        found, job = [], self
        while job is not None:
            found.append(job.delivery)
            job = job.before  # type: ignore[assignment]  # the last one has none
        found.reverse()
        return found

    def prepare(self, compressor: SharedCompressor | None) -> list[_Job]:
        """Join and frame what all receivers of the job get; returns one job for each kind of bytes that they can read."""
        deliveries = self.deliveries()
        if len(deliveries) == 1:
            self.payloads, self.names = deliveries[0].payloads, deliveries[0].names
        else:
            self.payloads = [payload for delivery in deliveries for payload in delivery.payloads]
            self.names = [name for delivery in deliveries for name in delivery.names]
        joined = self.payloads[0] if len(self.payloads) == 1 else b"".join(self.payloads)
        if compressor is None:
            self.framed = chunked(joined)
            parts = [self]
        else:
            parts = [self._part(share) for share in compressor.shares(joined, self.receivers)]
        for delivery in deliveries:
            delivery._jobs += len(parts)  # noqa: SLF001  # the two are one thing
        return parts

    def _part(self, share: Share[Receiver]) -> _Job:
        part = _Job(self.before, self.delivery, share.receivers)
        part.payloads, part.names = self.payloads, self.names
        part.framed = None if share.data is None else chunked(share.data)
        return part


class Writer:
    """Writes what is delivered in a turn of the event loop when the turn is over.

    Args:
        slice_size: receivers written to before the loop turns.
    """

    __slots__ = (
        "_call_soon",
        "_gathered",
        "_held",
        "_jobs",
        "_scheduled",
        "_sealed",
        "_served",
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
        #: What was delivered in this turn, and how many bytes that is.
        self._gathered: list[Delivery] = []
        self._held = 0
        self._jobs: deque[_Job] = deque()
        self._scheduled = False
        self._sealed = False
        # Receivers that were handed out what was pending, and which deliveries that was.
        self._served: dict[Receiver, set[Delivery]] = {}
        # Whether everything is being written: what is delivered meanwhile, by whoever was told of an end, is written by
        # the same loop, for a call inside a call for each of a thousand dead receivers would be too deep.
        self._writing = False

    def __repr__(self) -> str:
        return (
            f"<Writer: {len(self._gathered)} deliveries gathered, {len(self._jobs)} jobs under way>"
        )

    @property
    def pending(self) -> bool:
        """Whether something has been delivered and not yet written."""
        return bool(self._gathered or self._jobs)

    def meet(self, call_soon: Callable[[Callable[[], None]], object] | None) -> None:
        """Gather by turns of an event loop from now on, given its ``call_soon``; or, given None, write at once."""
        self.flush()
        self._call_soon = call_soon
        self._scheduled = False

    def deliver(
        self, receivers: Sequence[Receiver], payload: bytes, name: Hashable = None
    ) -> Delivery:
        """Deliver one encoded event.

        Args:
            receivers: each once; the sequence must not be changed afterwards.
            payload: bytes of the event stream, not framed.
            name: where the receiver keeps only the newest of what waits for it under one name, that name.

        Returns:
            What becomes of it; events for the same receivers in the same turn share one.
        """
        last = self._gathered[-1] if self._gathered else None
        if (
            last is not None
            and not self._sealed
            and (last.receivers is receivers or last.receivers == receivers)
        ):
            delivery = last
        else:
            delivery = Delivery(receivers)
            self._sealed = False
            self._gathered.append(delivery)
        delivery.payloads.append(payload)
        delivery.names.append(name)
        self._held += len(payload)
        if not self._writing and (self._held > MAX_TURN or self._call_soon is None):
            self.flush()
        elif self._call_soon is not None and not self._scheduled:
            self._scheduled = True
            self._call_soon(self._write_slice)
        return delivery

    def flush(self) -> None:
        """Write everything that has been delivered, now."""
        writing, self._writing = self._writing, True
        try:
            while self.pending:
                self._write(None)
        finally:
            self._writing = writing

    def hand_out(self, receiver: Receiver) -> list[bytes]:
        """Return what has been delivered to a receiver and not yet written, in order; it is the caller's business now.

        For whoever ends a stream: its last words must not wait, and nobody else's need be written for them.
        """
        payloads: list[bytes] = []
        handed: set[Delivery] = set()
        for job in self._jobs:
            if receiver in job.receivers[job.position :]:
                payloads += job.payloads
                handed.update(job.deliveries())
        for delivery in self._gathered:
            if receiver in delivery.receivers:
                payloads += delivery.payloads
                handed.add(delivery)
        if payloads:
            self._served[receiver] = handed
            # What comes for the same receivers from now on is another delivery: this one does not get it.
            self._sealed = True
        return payloads

    def _write_slice(self) -> None:
        self._scheduled = False
        self._write(self.slice_size)
        if self.pending and not self._scheduled and self._call_soon is not None:
            self._scheduled = True
            self._call_soon(self._write_slice)

    def _write(self, limit: int | None) -> None:
        if not self._jobs:
            gathered, self._gathered, self._held = self._gathered, [], 0
            # Under a load that never ends there is always something pending; who was served long ago is forgotten here.
            self._served = {
                one: handed
                for one, handed in self._served.items()
                if not all(each.done for each in handed)
            }
            self._jobs.extend(_plan(gathered, self.compressor))
        while self._jobs and (limit is None or limit > 0):
            job = self._jobs[0]
            begin = job.position
            end = len(job.receivers) if limit is None else min(begin + limit, len(job.receivers))
            part = job.receivers if end - begin == len(job.receivers) else job.receivers[begin:end]
            job.position = end
            if end == len(job.receivers):
                self._jobs.popleft()
            if limit is not None:
                limit -= len(part)
            _send(job, part, self._served)
        if not self.pending:
            self._served.clear()


def _plan(gathered: Sequence[Delivery], compressor: SharedCompressor | None) -> list[_Job]:
    """Return the jobs of a turn, by receivers that have the same deliveries before them."""
    if len(gathered) == 1:
        jobs = [_Job(None, gathered[0], gathered[0].receivers)]
    else:
        last_of: dict[Receiver, _Job] = {}
        for delivery in gathered:
            # Whoever had the same until now has the same after it: one job for each past, not one for each receiver.
            after: dict[_Job | None, _Job] = {}
            for receiver in delivery.receivers:
                before = last_of.get(receiver)
                job = after.get(before)
                if job is None:
                    job = after[before] = _Job(before, delivery, [])
                last_of[receiver] = job
        for receiver, job in last_of.items():
            job.receivers.append(receiver)  # type: ignore[attr-defined]  # made above, as a list
        jobs = list(dict.fromkeys(last_of.values()))
    jobs = [part for job in jobs if job.receivers for part in job.prepare(compressor)]
    for delivery in gathered:
        if not delivery.receivers:
            delivery.done = True
    return jobs


def _send(job: _Job, part: Sequence[Receiver], served: Mapping[Receiver, set[Delivery]]) -> None:
    job.parts += 1
    framed = b"" if job.framed is None else job.framed
    size = len(framed)
    troubled: list[tuple[Receiver, int | OSError]] = []
    if job.framed is None:
        troubled = [(receiver, NOT_NOW) for receiver in part]
        part = ()
    for receiver in part:
        receiver.idle_ticks = 0
        try:
            sent = receiver.write(framed)
        except OSError as error:
            troubled.append((receiver, error))
            continue
        if sent != size:
            troubled.append((receiver, sent))
    failed: list[Receiver] = []
    deliveries = job.deliveries()
    for receiver, outcome in troubled:
        if receiver not in served and not receiver.take(job.payloads, job.names, framed, outcome):
            failed.append(receiver)
        elif receiver in served:
            if not served[receiver].issuperset(deliveries):
                failed.append(receiver)
        elif receiver.outbox:
            for delivery in deliveries:
                delivery.waited += 1
    for receiver in failed:
        failure = Failure(receiver.key, receiver, receiver.settle())
        handed_out = served.get(receiver, ())
        for delivery in deliveries:
            if delivery not in handed_out:
                delivery.failures.append(failure)
    job.parts -= 1
    if job.position == len(job.receivers) and not job.parts:
        for delivery in deliveries:
            delivery._jobs -= 1  # noqa: SLF001  # the two are one thing
            delivery.done = delivery._jobs == 0  # noqa: SLF001  # the same


#: For connections without a hub: whatever they are given is written at once.
AT_ONCE: Final = Writer()
