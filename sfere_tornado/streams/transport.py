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
    """**Protocol:** the bytes' way to one client, as a connection needs it."""

    #: Takes bytes in an HTTP/1.1 chunk and returns how many it took, or raises an OSError; None
    #: where there is no such way, or another framing. Called only while nothing waits.
    direct: Callable[[bytes], int] | None
    #: Puts the protocol's frame around the bytes of events.
    frame: Callable[[bytes], bytes]
    #: What a clean end writes last, such as the last chunk; may be empty.
    last_frame: bytes

    def closed(self) -> bool:
        """Tell whether the way is closed, by whichever side."""

    def ready(self) -> bool:
        """Return whether all bytes are sent; if not, :meth:`.Connection.drained` is called then."""

    def blocked(self, error: OSError) -> bool:
        """Tell whether an error of ``direct`` says "not now", instead of "never again"."""

    def write(self, data: bytes) -> bool:
        """Take framed bytes.

        Returns:
            True when all of them are gone; False when the transport is busy with them, in which
            case it calls :meth:`.Connection.drained` once they are, and must be given nothing more
            until then.

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
