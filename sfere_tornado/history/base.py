"""What every history of events promises, and the records that it returns.

What is here: the contract that the rest of the library uses. What is not: how events are kept
(:mod:`.memory`). Ids and marks are opaque outside this folder: only a history makes them and reads
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NewType, Protocol, TypeAlias

if TYPE_CHECKING:
    from ..keys import Audience, Key, KeyLike

__all__ = ("Gap", "History", "Mark", "Replay")

#: Why events are missing: they were dropped (``too_old``), the id is of another history
#: (``foreign``), or what the client sent is not an id (``garbage``).
Gap: TypeAlias = Literal["too_old", "foreign", "garbage"]

#: A moment in the sequence of events.
Mark = NewType("Mark", int)


@dataclass(frozen=True, slots=True)
class Replay:
    """One part of what a client has missed: send the gap, then the events, then ask for more."""

    #: The key for which it is.
    key: Key
    #: Why events are missing that the client was not told of yet, or None.
    gap: Gap | None
    #: Bytes of the event stream, one item for each event, in order.
    events: tuple[bytes, ...]
    #: The moment up to which this part is complete.
    position: Mark
    #: Whether it is the last part.
    done: bool
    #: The moment after which the client gets its events in another way; None for now.
    until: Mark | None
    #: The moment up to which a gap was told.
    reported: Mark


class History(Protocol):
    """**Protocol:** keeps what is sent by address, and replays what a client has missed."""

    def keeps(self, category: Any) -> bool:
        """Return whether what is sent to a category, or to ANY, is kept."""

    def check(self, audience: Audience, event_id: str | None) -> None:
        """Check that an event can be kept, before anything is done.

        Args:
            audience: the keys it is for.
            event_id: the id that the sender gave it.

        Raises:
            EventError: when it has an id, and the category is kept: the history gives the ids.
        """

    def append(self, audience: Audience, payload: bytes) -> bytes:
        """Keep an event that was checked, and return its bytes with its id.

        Args:
            audience: the keys it is for.
            payload: its bytes on the wire, without an id.

        Raises:
            EventTooLargeError: when it is too large with its id; nothing was kept.
        """

    def with_next_id(self, payload: bytes) -> bytes:
        """Return what :meth:`append` would return, and keep nothing."""

    def mark(self) -> Mark:
        """Return the present moment in the sequence."""

    def cursor(self, mark: Mark | None = None) -> str:
        """Return the id of a moment, of the present one by default.

        A client that comes with it gets what was recorded after that moment.
        """

    def since(self, last_event_id: object, key: KeyLike, *, until: Mark | None = None) -> Replay:
        """Return the first part of what a client has missed.

        Args:
            last_event_id: what the client sent, as it came; it is never an error.
            key: the client's, from the server.
            until: the moment after which the client gets its events in another way; None for now.

        Raises:
            KeyShapeError: when it is not a valid key.
        """

    def more(self, replay: Replay) -> Replay:
        """Return the part after another one."""
