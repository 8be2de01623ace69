"""The states of a connection, and the table of what leads from one to another.

The picture in the documentation is drawn from :data:`TRANSITIONS`.

A stream is *opening* until it has a transport. It is *greeting* while the opener writes what comes
first: a replay, the application's greeting. Then it is *open*, and events go to the socket
directly; or *busy*, while the transport sends what the socket did not take. Each of these can be
*paused*, while it is not known whether the client may have the events. In all states but *open*
events wait in the outbox.

A stream whose client did not take an event is *full* or *gone* until it is settled: inside a loop
over connections no stream ends. Last it has *ended*.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("TRANSITIONS", "Signal", "State")


class State(Enum):
    """What a connection does with an event."""

    OPENING = "opening"
    GREETING = "greeting"
    BUSY = "busy"
    OPEN = "open"
    OPENING_PAUSED = "opening, paused"
    GREETING_PAUSED = "greeting, paused"
    BUSY_PAUSED = "busy, paused"
    OPEN_PAUSED = "open, paused"
    FULL = "full"
    GONE = "gone"
    ENDED = "ended"

    @property
    def opening(self) -> bool:
        """Whether the stream has no transport yet."""
        return self in (State.OPENING, State.OPENING_PAUSED)

    @property
    def live(self) -> bool:
        """Whether the first bytes, such as a replay, are written."""
        return self in (State.BUSY, State.OPEN, State.BUSY_PAUSED, State.OPEN_PAUSED)

    @property
    def paused(self) -> bool:
        """Whether the client's rights are being checked, so that events wait."""
        return (self, Signal.RESUME) in TRANSITIONS


class Signal(Enum):
    """What can happen to a connection."""

    #: It gets its transport.
    OPEN = "open"
    #: The socket does not take everything, so the transport sends the rest.
    BLOCK = "block"
    #: The transport has sent everything.
    DRAIN = "drain"
    #: The client's rights are being checked.
    PAUSE = "pause"
    #: The client's rights are known.
    RESUME = "resume"
    #: An event does not fit into the outbox.
    OVERFLOW = "overflow"
    #: A write finds that the client has gone.
    BREAK = "break"
    #: The stream ends.
    END = "end"


#: The state after a signal. A signal that is not in the table for a state changes nothing.
TRANSITIONS: Final[Mapping[tuple[State, Signal], State]] = {
    (State.OPENING, Signal.OPEN): State.GREETING,
    (State.OPENING, Signal.PAUSE): State.OPENING_PAUSED,
    (State.OPENING, Signal.OVERFLOW): State.FULL,
    (State.OPENING, Signal.END): State.ENDED,
    (State.GREETING, Signal.DRAIN): State.OPEN,
    (State.GREETING, Signal.PAUSE): State.GREETING_PAUSED,
    (State.GREETING, Signal.OVERFLOW): State.FULL,
    (State.GREETING, Signal.END): State.ENDED,
    (State.OPEN, Signal.BLOCK): State.BUSY,
    (State.OPEN, Signal.PAUSE): State.OPEN_PAUSED,
    (State.OPEN, Signal.BREAK): State.GONE,
    (State.OPEN, Signal.END): State.ENDED,
    (State.BUSY, Signal.DRAIN): State.OPEN,
    (State.BUSY, Signal.PAUSE): State.BUSY_PAUSED,
    (State.BUSY, Signal.OVERFLOW): State.FULL,
    (State.BUSY, Signal.END): State.ENDED,
    (State.OPENING_PAUSED, Signal.OPEN): State.GREETING_PAUSED,
    (State.OPENING_PAUSED, Signal.RESUME): State.OPENING,
    (State.OPENING_PAUSED, Signal.OVERFLOW): State.FULL,
    (State.OPENING_PAUSED, Signal.END): State.ENDED,
    (State.GREETING_PAUSED, Signal.DRAIN): State.OPEN_PAUSED,
    (State.GREETING_PAUSED, Signal.RESUME): State.GREETING,
    (State.GREETING_PAUSED, Signal.OVERFLOW): State.FULL,
    (State.GREETING_PAUSED, Signal.END): State.ENDED,
    (State.BUSY_PAUSED, Signal.DRAIN): State.OPEN_PAUSED,
    (State.BUSY_PAUSED, Signal.RESUME): State.BUSY,
    (State.BUSY_PAUSED, Signal.OVERFLOW): State.FULL,
    (State.BUSY_PAUSED, Signal.END): State.ENDED,
    (State.OPEN_PAUSED, Signal.RESUME): State.OPEN,
    (State.OPEN_PAUSED, Signal.OVERFLOW): State.FULL,
    (State.OPEN_PAUSED, Signal.END): State.ENDED,
    (State.FULL, Signal.END): State.ENDED,
    (State.GONE, Signal.END): State.ENDED,
}
