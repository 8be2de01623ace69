"""What a connection needs of its client's socket; ``web.sockets`` has it for Tornado."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("KernelView", "Transport")


class KernelView(NamedTuple):
    """What the kernel knows of the next hop: the client, or a proxy before it."""

    #: Bytes acknowledged so far.
    acknowledged: int
    #: Segments sent and not yet acknowledged.
    unacknowledged: int
    #: Seconds since the last acknowledgement.
    silence: float
    #: Seconds of a round trip, smoothed.
    round_trip: float


class Transport(Protocol):
    """**Protocol:** the bytes' way to one client, as a connection needs it.

    A transport knows no connection: both would keep each other alive until the cyclic collector
    comes. What it tells, it tells the callbacks that it is given.
    """

    #: Takes bytes in an HTTP/1.1 chunk and returns how many it took, or raises an OSError; None
    #: where there is no such way, or another framing. Called only while nothing waits.
    direct: Callable[[bytes], int] | None
    #: Puts the protocol's frame around the bytes of events.
    frame: Callable[[bytes], bytes]
    #: What a clean end writes last, such as the last chunk; may be empty.
    last_frame: bytes

    def closed(self) -> bool:
        """Tell whether the way is closed, by whichever side."""

    def ready(self, drained: Callable[[], object]) -> bool:
        """Return whether all bytes are sent; if not, ``drained`` is called once they are."""

    def blocked(self, error: OSError) -> bool:
        """Tell whether an error of ``direct`` says "not now", instead of "never again"."""

    def write(self, data: bytes, drained: Callable[[], object]) -> bool:
        """Take framed bytes.

        Args:
            data: the bytes.
            drained: called once all of them are sent, if the transport is busy with them.

        Returns:
            True when all of them are gone; False when the transport is busy with them. It must be
            given nothing more until it has called ``drained``.

        Raises:
            ConnectionError: when the way is closed.
        """

    def finish(self, data: bytes, done: Callable[[bool], object]) -> None:
        """Write last bytes after all that was taken, then close; never raises.

        Args:
            data: framed.
            done: called once: with True when all bytes are written, with False when the client left
                or did not read them in time.
        """

    def abort(self) -> None:
        """Close now, without a last frame, so that the client comes back; never raises."""

    def acknowledged(self) -> int | None:
        """Return the bytes that the peer's kernel has acknowledged; None where not known."""

    def kernel(self) -> KernelView | None:
        """Return what the kernel knows of the peer, or None where it does not tell."""
