"""What happens to members, as records: the facts from which presence follows.

A fact is made where something is noticed, and applied by :meth:`.Presence.apply`. It says what
happened, not what the others are sent: each process that applies the same facts, with the same
times and graces, has the same roster and finds the same changes.

Facts are plain values: they compare by type and content, and can be pickled. They can be written as
JSON where the parts of their keys can. The caller that makes a fact checks its fields;
:meth:`.Presence.apply` does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from ..keys import Key
    from ..reasons import DepartureReason

__all__ = (
    "Arrived",
    "ConnectionId",
    "Departed",
    "Fact",
    "Hidden",
    "Left",
    "Shown",
    "Updated",
    "WaitEnded",
)


#: Names a connection while it is open: a number is its ``id()`` in this process. A text is for
#: facts of other processes, whose numbers may be the same.
ConnectionId: TypeAlias = int | str


@dataclass(frozen=True, slots=True)
class Arrived:
    """A connection has opened under a key."""

    key: Key
    connection_id: ConnectionId
    #: The id of the browser's tab, which a reload keeps; None when the client has none.
    tab: str | None = None
    #: The kind of device, in the application's words.
    device: str | None = None
    #: The application's own; None keeps the data of the tab.
    data: Any = None
    #: Whether the tab is hidden; None keeps what is known of the tab.
    hidden: bool | None = None


@dataclass(frozen=True, slots=True)
class Departed:
    """A connection has closed, or has left a key."""

    connection_id: ConnectionId
    reason: DepartureReason
    #: Only under this key; None for all keys of the connection.
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """A client has said that its member leaves."""

    key: Key
    #: Only this tab; None for all.
    tab: str | None = None


@dataclass(frozen=True, slots=True)
class Hidden:
    """A client has said that a tab is hidden."""

    key: Key
    #: Which tab; None for all of the member's.
    tab: str | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A client has said that a tab is visible again."""

    key: Key
    #: Which tab; None for all of the member's.
    tab: str | None = None


@dataclass(frozen=True, slots=True)
class Updated:
    """The application's data of a member has been replaced."""

    key: Key
    data: Any
    #: Only for this tab; None for all of the member's.
    tab: str | None = None


@dataclass(frozen=True, slots=True)
class WaitEnded:
    """The grace of a closed stream of a member has ended, and the stream has not come back."""

    key: Key


#: What happens to a member.
Fact: TypeAlias = Arrived | Departed | Left | Hidden | Shown | Updated | WaitEnded
