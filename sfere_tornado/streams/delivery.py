"""What becomes of events for the same receivers, and the wait for it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable, Iterable, Sequence

    from ..keys import Key
    from ..reasons import Reason

__all__ = ("Delivery", "Failure", "Receiver", "Wakeup", "joined", "report_last")


class Receiver(Protocol):
    """**Protocol:** one connection, as the writer needs it."""

    #: Where it is stored, or None.
    key: Key | None
    #: Takes framed bytes and returns how many it took. Any other number than all of them, and an
    #: OSError, is passed to :meth:`take`.
    write: Callable[[bytes], int]
    #: Set to False with each write.
    idle: bool
    #: Which compressed bytes it can read; see :mod:`.compression`.
    step: int

    def take(self, deliveries: Sequence[Delivery], framed: bytes, outcome: int | OSError) -> bool:
        """Take what ``write`` left over; return False when the receiver must be settled."""

    def settle(self) -> Reason:
        """End the stream of a receiver that did not take what was written; return the reason."""


class Wakeup(Protocol):
    """**Protocol:** a future of the event loop, as a wait for a delivery needs it."""

    def done(self) -> bool:
        """Tell whether it has a result or was cancelled."""

    def set_result(self, result: None, /) -> None:
        """Wake the task that awaits it."""

    def __await__(self) -> Generator[Any, None, None]:
        """Wait for the result."""


class Failure(NamedTuple):
    """One receiver that did not get everything."""

    #: Its key; None when it was never stored.
    key: Key | None
    connection: Any
    reason: Reason


class Delivery:
    """What becomes of events for the same receivers.

    Args:
        receivers: The receivers of the events, each once.
        create_future: Makes a future of the event loop, for :meth:`settled`; None where every
            delivery is done before the call that makes it returns.
    """

    __slots__ = (
        "_create_future",
        "_jobs",
        "_waits",
        "done",
        "failures",
        "names",
        "payloads",
        "receivers",
        "waited",
    )

    def __init__(
        self,
        receivers: Sequence[Receiver],
        create_future: Callable[[], Wakeup] | None = None,
    ) -> None:
        self.receivers: Sequence[Receiver] = receivers
        #: The events, encoded and not yet framed; and for each the name under which it may be
        #: replaced, or None.
        self.payloads: list[bytes] = []
        self.names: list[Hashable] = []
        #: Receivers that did not take them.
        self.failures: list[Failure] = []
        #: Receivers that were reached although their socket did not take everything at once. A
        #: receiver whose stream ends while the events still wait moves to :attr:`failures`, also
        #: after the delivery is done.
        self.waited: int = 0
        #: Whether everything has been written, waits for its receiver, or has failed.
        self.done: bool = False
        # To sort the receivers into jobs is the first job: what ends before must not end it all.
        self._jobs = 1
        self._create_future = create_future
        # None until a task waits: most deliveries are never awaited.
        self._waits: list[Wakeup] | None = None

    def __repr__(self) -> str:
        state = "done" if self.done else "under way"
        return (
            f"<Delivery {state}: {self.reached} reached, {self.waited} waited,"
            f" {len(self.failures)} failed>"
        )

    @property
    def reached(self) -> int:
        """How many receivers took the events; those not yet written to count as reached."""
        return len(self.receivers) - len(self.failures)

    async def settled(self) -> Delivery:
        """Wait until the delivery is done; return it.

        Raises:
            RuntimeError: The delivery was made without an event loop and is still being written.
        """
        if not self.done:
            await self._wait()
        return self

    def _wait(self) -> Wakeup:
        if self._create_future is None:
            raise RuntimeError(f"{self!r} was made without an event loop; it cannot be awaited")
        wakeup = self._create_future()
        if self._waits is None:
            self._waits = []
        self._waits.append(wakeup)
        return wakeup

    def add_jobs(self, number: int) -> None:
        """Record that so many more jobs write the events."""
        self._jobs += number

    def end_job(self) -> None:
        """Record that one of the jobs is over; the last makes the delivery done."""
        self._jobs -= 1
        if self._jobs <= 0:
            self.finish()

    def lose(self, failure: Failure) -> None:
        """Record that a receiver never gets the events, which have waited for it."""
        self.waited -= 1
        self.failures.append(failure)

    def finish(self) -> None:
        """Make the delivery done, and wake the tasks that wait for it."""
        self.done = True
        waits, self._waits = self._waits, None
        for wakeup in waits or ():
            if not wakeup.done():
                # The loop of a task that waits may be closed by now: that task never runs again,
                # and must not stop the writing for the others.
                with suppress(RuntimeError):
                    wakeup.set_result(None)


def joined(deliveries: Sequence[Delivery]) -> bytes:
    """Return the events of deliveries as bytes, not framed; a single one is not copied."""
    if len(deliveries) == 1:
        payloads = deliveries[0].payloads
        return payloads[0] if len(payloads) == 1 else b"".join(payloads)
    return b"".join([payload for delivery in deliveries for payload in delivery.payloads])


def report_last(
    failure: Failure, waited: Iterable[Delivery], handed: Iterable[Delivery], sent: bool
) -> None:
    """Tell the deliveries of a stream that has ended what became of their events.

    Args:
        failure: what they are told if the socket did not take the events.
        waited: deliveries of earlier turns, which are done.
        handed: deliveries of this turn, which wait for the transport.
        sent: whether the socket took the events.
    """
    if not sent:
        for delivery in waited:
            delivery.lose(failure)
    for delivery in handed:
        if not sent:
            delivery.failures.append(failure)
        delivery.end_job()
