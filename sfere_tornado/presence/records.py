"""The records of presence: how long to wait, who is here, what changed.

A *member* is a key: it is here while one of its connections is open, or one is waited for. An
*announcement* is what the others are told of it. The two differ on purpose: the roster is always
exact, and the announcement of a departure waits for the grace, so that a reload is not announced. A
tab that opens or closes while its member stays is not announced either: the others know a member's
connections as of its last change.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from ..errors import EventError, MetaError
from ..reasons import RETURNING, DepartureReason
from ..wire.event_stream import data_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..keys import Key

__all__ = (
    "MAX_DATA_SIZE",
    "MAX_LABEL",
    "Change",
    "ChangeKind",
    "Departure",
    "DepartureReason",
    "Diff",
    "Grace",
    "Member",
    "Meta",
    "Page",
    "check_meta",
    "diff",
)

ChangeKind: TypeAlias = Literal["joined", "left", "away", "back", "changed"]

#: Characters of a tab id or a device's name at most, 64: a UUID and a word. Every newcomer is sent
#: the labels of all members.
MAX_LABEL: Final = 64

#: Bytes of the application's data of one connection at most, as JSON, 1 KiB: a name, a colour, a
#: picture's address. It is sent to all members at each change, so send a link to what is larger.
MAX_DATA_SIZE: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Grace:
    """How long a departure waits, in seconds, before it is announced; a return within it is silent.

    Raises:
        ValueError: A time is not a number of seconds from 0.
    """

    #: The client said that its member leaves: no wait.
    leave: float = 0.0
    #: The client closed, or its connection was cut: most often a reload (some 50 ms) or a change of
    #: network. Five seconds are two default reconnection times and a page that loads slowly.
    client: float = 5.0
    #: Cut at a bound; the client comes back, as after ``client``.
    slow: float = 5.0
    #: Cut by an error on this side; the client comes back, as after ``client``.
    error: float = 5.0
    #: Closed by the application; the client comes back where the closing lets it.
    server: float = 5.0
    #: The kernel gave up after many seconds, which were the wait.
    timeout: float = 0.0
    #: The lease ended, which is longer than any grace.
    expired: float = 0.0
    #: Another connection took the place, so the member is still here.
    replaced: float = 0.0
    #: The client may not be here any more.
    revoked: float = 0.0
    #: This process stops. Its clients go to another process, or come back: with None the departure
    #: is never announced.
    shutdown: float | None = None
    #: The tab was hidden when its stream closed. Some client libraries close the streams of hidden
    #: tabs, and a hidden tab that was closed looks the same from here. Ten minutes, like the
    #: default lease.
    hidden: float = 600.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None and field.name == "shutdown":
                continue
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not isfinite(value)
                or value < 0
            ):
                raise ValueError(
                    f"the grace {field.name} is a number of seconds from 0, not {value!r}"
                )

    def wait(self, reason: DepartureReason, *, hidden: bool = False) -> float | None:
        """Return the seconds to wait after a departure, or None when it is never announced.

        Args:
            reason: why the connection departed.
            hidden: whether its tab was hidden.
        """
        own: float | None = getattr(self, reason)
        if hidden and own is not None and reason in RETURNING:
            return max(own, self.hidden)
        return own


class Meta(NamedTuple):
    """What is known of one connection of a member."""

    #: The id of the browser's tab, which a reload keeps; None when the client has none.
    tab: str | None
    #: The kind of device, in the application's words.
    device: str | None
    #: The time of its arrival, on the timer of presence. A return within the grace keeps it.
    since: float
    #: The application's own.
    data: Any
    #: Whether its tab is hidden, or its stream has closed and is waited for.
    away: bool


class Member(NamedTuple):
    """A member, as it is or as it was announced."""

    key: Key
    metas: tuple[Meta, ...]
    #: Whether it has no open connection in a visible tab, or, if announced, had none then.
    away: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the members of a scope and category, as they were announced, in order of joining."""

    members: tuple[Member, ...]
    #: How many members there are in all.
    count: int
    #: The number of the last change among all of them. While it stays, every page stays true.
    version: int
    #: Where the next page begins; None when there is none.
    next: int | None


class Departure(NamedTuple):
    """A connection that has closed: the arguments of :meth:`.Presence.depart`."""

    connection: object
    reason: DepartureReason
    #: Only under this key; None for all keys of the connection.
    key: Key | None = None


class Change(NamedTuple):
    """A change to announce: of which member, what, and for ``left`` why and who remains."""

    kind: ChangeKind
    key: Key
    #: The member's connections after the change; for ``left`` those that it had last.
    metas: tuple[Meta, ...]
    #: Whether the others see the member as away after this change.
    away: bool
    #: Why the member has left; None for other kinds.
    reason: DepartureReason | None = None
    #: For ``left``, in callbacks: the members of the same scope and category that are here after
    #: the whole call. Empty elsewhere; see :meth:`.Presence.with_remaining`.
    remaining: tuple[Key, ...] = ()


class Diff(NamedTuple):
    """Several changes as one step: remove the leaves from a roster, then put the joins into it.

    A member in both has left and joined again. Changes of the kinds away, back and changed are
    joins, too: each replaces what was known of its member.
    """

    joins: dict[Key, Change]
    leaves: dict[Key, Change]


def diff(changes: Iterable[Change]) -> Diff:
    """Return changes, oldest first, as one step; of each member the latest of each side counts."""
    joins: dict[Key, Change] = {}
    leaves: dict[Key, Change] = {}
    for change in changes:
        if change.kind == "left":
            joins.pop(change.key, None)
            leaves[change.key] = change
        else:
            joins[change.key] = change
    return Diff(joins, leaves)


def check_meta(tab: object, device: object, data: object) -> None:
    """Check what is kept of a connection.

    Raises:
        MetaError: The tab or device is neither None nor a text of 1 to :data:`MAX_LABEL` printable
            characters, or the data is more than :data:`MAX_DATA_SIZE` bytes as JSON, or cannot be
            written as JSON.
    """
    for field, value in (("tab", tab), ("device", device)):
        # A lone surrogate is not printable either. No event can carry one: kept, it would fail
        # every event that lists this member.
        if value is not None and not (
            isinstance(value, str) and 0 < len(value) <= MAX_LABEL and value.isprintable()
        ):
            raise MetaError(
                f"must be a text of 1 to {MAX_LABEL} printable characters, or None", field
            )
    if data is None:
        return
    try:
        size = len(data_text(data).encode())
    except (EventError, UnicodeEncodeError) as error:
        raise MetaError(f"cannot be sent to the others: {error}", "data") from error
    if size > MAX_DATA_SIZE:
        raise MetaError(
            f"{size} bytes as JSON, the limit is {MAX_DATA_SIZE}; send a reference", "data"
        )
