"""What the room keeps of each member: its streams, open and waited for.

Not here: time, grace and announcements; the room decides, these only hold.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from .records import Member, Meta

if TYPE_CHECKING:
    from ..keys import Key
    from .records import Reason

__all__ = ("MAX_METAS", "MemberState", "Stream")

#: Connections of one member that are shown, and closed ones that are waited for, 32: every tab and device of a person, and
#: together, with the most that each may say, less than an event may have. Every open one counts, shown or not.
MAX_METAS: Final = 32


class Stream:
    """One connection of a member: open, or closed and waited for.

    Args:
        state: the member's.
        connection: the connection.
        meta: tab, device, since, data, and whether its tab is hidden.
    """

    __slots__ = (
        "connection",
        "data",
        "device",
        "ends",
        "hidden",
        "place",
        "reason",
        "since",
        "state",
        "tab",
    )

    tab: str | None
    device: str | None
    since: float
    data: Any
    hidden: bool

    def __init__(self, state: MemberState, connection: object, meta: Meta) -> None:
        self.state: MemberState = state
        #: None when it has closed.
        self.connection: object = connection
        self.tab, self.device, self.since, self.data, self.hidden = meta
        #: Why it closed.
        self.reason: Reason | None = None
        #: When it is no longer waited for.
        self.ends: float = 0.0
        #: The number of its place among all that are waited for; None while it is not.
        self.place: int | None = None

    def __repr__(self) -> str:
        state = "open" if self.place is None else f"waited for until {self.ends:g}"
        return f"<Stream of {self.state.key}, tab {self.tab!r}, {state}>"

    def meta(self) -> Meta:
        """Return what is known of it."""
        return Meta(
            self.tab, self.device, self.since, self.data, self.hidden or self.place is not None
        )


class MemberState:
    """One member: its streams, and what the others were told of it."""

    __slots__ = ("key", "open", "told", "waiting")

    def __init__(self, key: Key) -> None:
        self.key: Key = key
        #: Open streams by ``id(connection)``, in order of arrival.
        self.open: dict[int, Stream] = {}
        #: Closed streams that may come back, in order of departure; few enough for a list.
        self.waiting: list[Stream] = []
        #: As the others know it: what they were told last.
        self.told: Member = Member(key, (), away=False)

    def __repr__(self) -> str:
        return f"<MemberState {self.key}: {len(self.open)} open, {len(self.waiting)} waited for>"

    @property
    def away(self) -> bool:
        """Whether no stream of it is open in a visible tab."""
        return False not in [stream.hidden for stream in self.open.values()]

    @property
    def away_to_tell(self) -> bool:
        """Whether the others should know it as away: a stream that closed in a visible tab is most likely reloading."""
        return self.away and False not in [stream.hidden for stream in self.waiting]

    def is_over(self, now: float) -> bool:
        """Tell whether there is no reason left to count it as here."""
        return not self.open and all(stream.ends <= now for stream in self.waiting)

    def streams(self, tab: str | None = None) -> list[Stream]:
        """Return the streams of a tab, or all, the open ones first."""
        return [
            stream
            for stream in (*self.open.values(), *self.waiting)
            if tab is None or stream.tab == tab
        ]

    def metas(self) -> tuple[Meta, ...]:
        """Return what is known of its connections, the first ones if there are more than are shown; of one tab, the newest."""
        shown: dict[Any, Meta] = {}
        for stream in chain(self.open.values(), self.waiting):
            if len(shown) == MAX_METAS:
                break
            # No two streams without a tab are the same one.
            shown[stream if stream.tab is None else stream.tab] = stream.meta()
        return tuple(shown.values())

    def awaited(self, tab: str | None) -> Stream | None:
        """Return the closed stream that one which opens in a tab continues, if there is one: the one closed first."""
        return next((stream for stream in self.waiting if stream.tab == tab), None)
