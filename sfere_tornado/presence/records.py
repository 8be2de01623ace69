"""The records of presence: how long to wait, who is here, what changed.

A *member* is a key: it is there while at least one connection is, or a reason to wait for one. An *announcement* is what
the others are told of it. The two differ on purpose: the roster is exact at once, the announcement of a departure waits
for the grace, so that a reload leaves no trace. A tab that comes or goes while its member stays is not announced either:
what the others know of a member's connections is as of the last change of it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from ..errors import EventError, MetaError
from ..reasons import RETURNING
from ..reasons import DepartureReason as Reason
from ..wire.event_stream import data_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..keys import Key

__all__ = (
    "MAX_DATA_SIZE",
    "MAX_LABEL",
    "Change",
    "Diff",
    "Grace",
    "Kind",
    "Member",
    "Meta",
    "Reason",
    "check_meta",
    "diff",
)

Kind: TypeAlias = Literal["joined", "left", "away", "back", "changed"]

#: Characters of a tab id or a device's name: room for a UUID and a word, and not for a story, for every newcomer is
#: sent those of all who are here.
MAX_LABEL: Final = 64

#: Bytes of the application's data of one connection, as JSON, 1 KiB: a name, a colour, a picture's address. What is
#: larger belongs behind a link, for it would be sent to everybody at each change.
MAX_DATA_SIZE: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Grace:
    """How long a departure waits, in seconds, before it is announced; a return within that time is silent.

    Raises:
        ValueError: when a time is no number of seconds from 0.
    """

    #: The member said so: there is nothing to wait for.
    leave: float = 0.0
    #: The client closed, or its connection was cut: most often a reload (some 50 ms) or a network that changes. Five
    #: seconds are two of the default reconnection times, and a page that loads slowly.
    client: float = 5.0
    #: Cut at a bound; the client comes back like any other.
    slow: float = 5.0
    #: Cut by an error on this side; likewise.
    error: float = 5.0
    #: Closed by the application; likewise, where it lets the client come back.
    server: float = 5.0
    #: The kernel gave up after many seconds: that was the wait.
    timeout: float = 0.0
    #: The lease ended, which is longer than any grace.
    expired: float = 0.0
    #: Another connection took the place; while that one is there, nobody has left.
    replaced: float = 0.0
    #: The right to be here ended.
    revoked: float = 0.0
    #: This process stops, and its clients go to another one, or come back: None tells nobody, ever.
    shutdown: float | None = None
    #: The tab was hidden when its stream closed; some client libraries close it themselves then. Ten minutes, as long
    #: as a lease lasts by default: a tab in the background says nothing to tell the two ends apart.
    hidden: float = 600.0

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if value is None and one.name == "shutdown":
                continue
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not isfinite(value)
                or value < 0
            ):
                raise ValueError(
                    f"the grace {one.name} is a number of seconds from 0, not {value!r}"
                )

    def wait(self, reason: Reason, *, hidden: bool = False) -> float | None:
        """Return the seconds to wait after a departure, or None when it is never to be announced.

        Args:
            reason: why the connection departed.
            hidden: whether its tab was hidden then.
        """
        own: float | None = getattr(self, reason)
        if hidden and own is not None and reason in RETURNING:
            return max(own, self.hidden)
        return own


class Meta(NamedTuple):
    """What is known of one connection of a member."""

    #: The id of the browser's tab, which stays the same when the page is reloaded; None when the client has none.
    tab: str | None
    #: What kind of device it is, in the application's words.
    device: str | None
    #: Since when it is here, on the room's timer; a return within the grace goes on from the first arrival.
    since: float
    #: The application's own.
    data: Any
    #: Whether nobody looks at it: its tab is hidden, or its stream has closed and is waited for.
    away: bool


class Member(NamedTuple):
    """One who is here."""

    key: Key
    metas: tuple[Meta, ...]
    #: Whether no connection of it is open in a visible tab; for what was announced, whether the others were told so.
    away: bool


class Change(NamedTuple):
    """One thing to announce: who, what, and for ``left`` why and who remains."""

    kind: Kind
    key: Key
    #: The member's connections as of now; for ``left`` those that it had last.
    metas: tuple[Meta, ...]
    #: Whether the member counts as away for the others after this change.
    away: bool
    #: Why the member has left; None for the other kinds.
    reason: Reason | None = None
    #: For ``left``: the members of the same scope and category who are here after everything that this call did.
    remaining: tuple[Key, ...] = ()


class Diff(NamedTuple):
    """Several changes as one step: take the leaves out of a roster, then put the joins into it.

    A member in both has left and joined again. Joins are also those who are away, back or changed: they are put in the
    place of what was known of them.
    """

    joins: dict[Key, Change]
    leaves: dict[Key, Change]


def diff(changes: Iterable[Change]) -> Diff:
    """Return changes, oldest first, as one step; of several of one member the latest of each side counts."""
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
    """Check what is to be kept of a connection.

    Raises:
        MetaError: when tab or device is neither None nor a text of 1 to :data:`MAX_LABEL` printable characters, or the
            data has more than :data:`MAX_DATA_SIZE` bytes as JSON, or cannot be written as JSON.
    """
    for field, value in (("tab", tab), ("device", device)):
        # Printable also keeps lone surrogates out, which no event can say: one of them would silence a whole room.
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
