"""Groups of receivers that get the same bytes, and the writing to them.

How it works. :func:`plan` sorts the receivers of a turn's deliveries into jobs: receivers that have
the same deliveries before them. A job joins, compresses and frames its events once.
:func:`write_job` calls each receiver's ``write``. Receivers that did not take all bytes are handled after
the loop.

Law: **the loop over receivers allocates nothing, calls nothing but** ``write``, **and ends no
stream.** Streams that failed end after the loop. Their callbacks may deliver, flush and close.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from ..wire.framing import chunked
from .delivery import Failure, joined

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..wire.compression import Share, SharedCompressor
    from .delivery import Delivery, Receiver

__all__ = ("NOT_NOW", "Job", "give_up", "plan", "write_job")

log: logging.Logger = logging.getLogger("sfere_tornado.streams.writer")

#: What ``write`` returns where nothing was taken and the events themselves are wanted.
NOT_NOW: Final = -1


class Job:
    """Receivers with the same deliveries before them, and how far they have been written to."""

    __slots__ = ("before", "deliveries", "framed", "position", "receivers", "writing")

    def __init__(
        self, before: Job | None, delivery: Delivery, receivers: Sequence[Receiver]
    ) -> None:
        #: The job before it, while the jobs of a turn are planned.
        self.before: Job | None = before
        #: First to last. Only the last until :meth:`prepare`.
        self.deliveries: Sequence[Delivery] = (delivery,)
        self.receivers: Sequence[Receiver] = receivers
        #: How many receivers have been written to.
        self.position: int = 0
        #: Calls that are writing it: one inside another when the callback of an end flushes.
        self.writing: int = 0
        #: None where every receiver has to take the events themselves.
        self.framed: bytes | None = b""

    def prepare(self, compressor: SharedCompressor | None) -> list[Job]:
        """Join and frame the events; return one job for each kind of bytes, such as compressed."""
        if self.before is not None:
            chain, job = [*self.deliveries], self.before
            while job is not None:
                # A job before this one may be prepared already; its last delivery is its own.
                chain.append(job.deliveries[-1])
                job = job.before  # type: ignore[assignment]  # the first one has none
            chain.reverse()
            self.deliveries = chain
        events = joined(self.deliveries)
        if compressor is None:
            self.framed = chunked(events)
            jobs = [self]
        else:
            jobs = [self._copy(share) for share in compressor.shares(events, self.receivers)]
        for delivery in self.deliveries:
            delivery.add_jobs(len(jobs))
        return jobs

    def _copy(self, share: Share[Receiver]) -> Job:
        job = Job(None, self.deliveries[-1], share.receivers)
        job.deliveries = self.deliveries
        job.framed = None if share.data is None else chunked(share.data)
        return job


def plan(gathered: Sequence[Delivery], compressor: SharedCompressor | None) -> list[Job]:
    """Return the jobs of a turn, by receivers that have the same deliveries before them."""
    if len(gathered) == 1:
        jobs = [Job(None, gathered[0], gathered[0].receivers)]
        if compressor is None and gathered[0].receivers:
            # Most turns. To plan and to write are one job here.
            jobs[0].framed = chunked(joined(gathered))
            return jobs
    else:
        last_of: dict[Receiver, Job] = {}
        for delivery in gathered:
            # Receivers with the same deliveries so far share a job: one for each history, not each
            # receiver.
            after: dict[Job | None, Job] = {}
            for receiver in delivery.receivers:
                before = last_of.get(receiver)
                job = after.get(before)
                if job is None:
                    job = after[before] = Job(before, delivery, [])
                last_of[receiver] = job
        for receiver, job in last_of.items():
            job.receivers.append(receiver)  # type: ignore[attr-defined]  # made above, as a list
        jobs = list(dict.fromkeys(last_of.values()))
    jobs = [ready for job in jobs if job.receivers for ready in job.prepare(compressor)]
    for delivery in gathered:
        delivery.end_job()
    return jobs


def give_up(gathered: Sequence[Delivery]) -> None:
    """End every receiver of deliveries that could not be planned: it comes back for them."""
    for delivery in gathered:
        delivery.failures += [
            Failure(receiver.key, receiver, receiver.settle()) for receiver in delivery.receivers
        ]
        delivery.finish()


def write_job(
    job: Job, receivers: Sequence[Receiver], served: Mapping[Receiver, set[Delivery]]
) -> None:
    """Write a job to some of its receivers, and end those that did not take it."""
    job.writing += 1
    try:
        troubled = _write_each(job.framed, receivers)
        if troubled:
            _settle(job, _missed(job.deliveries, job.framed, troubled, served), served)
    finally:
        # Also after an exception: a task that awaits a delivery must not wait for ever.
        job.writing -= 1
        if job.position == len(job.receivers) and not job.writing:
            for delivery in job.deliveries:
                delivery.end_job()


def _write_each(
    framed: bytes | None, receivers: Sequence[Receiver]
) -> list[tuple[Receiver, int | OSError]]:
    """Call each receiver's ``write``; return those that did not take all, with the outcome."""
    if framed is None:
        return [(receiver, NOT_NOW) for receiver in receivers]
    size = len(framed)
    troubled: list[tuple[Receiver, int | OSError]] = []
    for receiver in receivers:
        receiver.idle = False
        try:
            sent = receiver.write(framed)
        except OSError as error:
            # Its traceback would keep this frame, and with it the receivers, in a circle.
            troubled.append((receiver, error.with_traceback(None)))
            continue
        if sent != size:
            troubled.append((receiver, sent))
    return troubled


def _missed(
    deliveries: Sequence[Delivery],
    framed: bytes | None,
    troubled: Sequence[tuple[Receiver, int | OSError]],
    served: Mapping[Receiver, set[Delivery]],
) -> list[Receiver]:
    """Let each receiver take what its ``write`` left over; return those that did not."""
    failed: list[Receiver] = []
    for receiver, outcome in troubled:
        if receiver in served:
            if not served[receiver].issuperset(deliveries):
                failed.append(receiver)
            continue
        try:
            taken = receiver.take(deliveries, framed or b"", outcome)
        except Exception:
            # A fault in one transport must not keep the event from the receivers after it.
            log.exception("%r failed to take an event; its stream ends", receiver)
            taken = False
        if not taken:
            failed.append(receiver)
    return failed


def _settle(job: Job, failed: Sequence[Receiver], served: Mapping[Receiver, set[Delivery]]) -> None:
    """End streams that did not take their events, and tell the deliveries."""
    for receiver in failed:
        failure = Failure(receiver.key, receiver, receiver.settle())
        handed_out = served.get(receiver, ())
        for delivery in job.deliveries:
            if delivery not in handed_out:
                delivery.failures.append(failure)
