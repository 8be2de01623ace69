"""The state of each member: its open streams, and the closed ones that may come back.

Time, grace and announcements are not decided here; see :mod:`.rules`.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from .records import Member, Meta

if TYPE_CHECKING:
    from ..keys import Key
    from .facts import ConnectionId
    from .records import DepartureReason

__all__ = ("MAX_METAS", "MemberGroup", "MemberState", "Stream")

#: Metas shown of one member, and closed streams of it that are waited for, 32: all tabs and devices
#: of a person. With the largest metas it is less than one event may have. Open streams beyond it
#: are not shown, but they count: the member stays while one of them is open.
MAX_METAS: Final = 32


class Stream:
    """One connection of a member: open, or closed and waited for.

    Args:
        state: the member.
        connection_id: names the connection while it is open.
        meta: its tab, device, since and data; ``away`` says whether its tab is hidden.
    """

    __slots__ = (
        "connection_id",
        "data",
        "device",
        "ends",
        "hidden",
        "reason",
        "since",
        "state",
        "tab",
        "wait",
    )

    tab: str | None
    device: str | None
    since: float
    data: Any
    #: Whether its tab is hidden.
    hidden: bool

    def __init__(self, state: MemberState, connection_id: ConnectionId, meta: Meta) -> None:
        self.state: MemberState = state
        #: Meaningful only while it is open.
        self.connection_id: ConnectionId = connection_id
        self.tab, self.device, self.since, self.data, self.hidden = meta
        #: Why it closed; None while it is open.
        self.reason: DepartureReason | None = None
        #: When its wait ends; meaningful only while it is waited for.
        self.ends: float = 0.0
        #: The number of its wait; None while it is not waited for.
        self.wait: int | None = None

    def __repr__(self) -> str:
        state = "open" if self.wait is None else f"waited for until {self.ends:g}"
        return f"<Stream of {self.state.key}, tab {self.tab!r}, {state}>"

    def meta(self) -> Meta:
        """Return what is known of it."""
        away = self.hidden or self.wait is not None
        return Meta(self.tab, self.device, self.since, self.data, away)


_ANNOUNCED: Final = attrgetter("announced")


class MemberGroup:
    """The members of one scope and category."""

    __slots__ = ("states", "version")

    def __init__(self) -> None:
        #: By key, in order of joining.
        self.states: dict[Key, MemberState] = {}
        #: The number of the last change that was announced of one of them.
        self.version: int = 0

    def __repr__(self) -> str:
        return f"<MemberGroup of {len(self.states)}, version {self.version}>"

    def announced(self) -> list[Member]:
        """Return the members as they were announced last."""
        return list(map(_ANNOUNCED, self.states.values()))


class MemberState:
    """One member: its streams, and what the others know of it."""

    __slots__ = ("announced", "group", "key", "number", "open", "waiting")

    def __init__(self, key: Key, group: MemberGroup | None = None, number: int = 0) -> None:
        self.key: Key = key
        #: The members of its scope and category.
        self.group: MemberGroup = MemberGroup() if group is None else group
        #: Orders the members by the time of joining.
        self.number: int = number
        #: Open streams by ``connection_id``, in order of arrival.
        self.open: dict[ConnectionId, Stream] = {}
        #: Closed streams that may come back, in order of departure; at most :data:`MAX_METAS`.
        self.waiting: list[Stream] = []
        #: The member as it was announced last.
        self.announced: Member = Member(key, (), away=False)

    def __repr__(self) -> str:
        return f"<MemberState {self.key}: {len(self.open)} open, {len(self.waiting)} waited for>"

    @property
    def away(self) -> bool:
        """Whether it has no open stream in a visible tab."""
        for stream in self.open.values():  # noqa: SIM110  # all() would call a generator
            if not stream.hidden:
                return False
        return True

    @property
    def away_to_announce(self) -> bool:
        """Whether the others should see it as away.

        A stream that closed in a visible tab is most likely reloading, so its member is not.
        """
        if not self.away:
            return False
        for stream in self.waiting:  # noqa: SIM110  # as above
            if not stream.hidden:
                return False
        return True

    def is_over(self, now: float) -> bool:
        """Return whether it has left: no stream is open, and the waits of all have ended."""
        return not self.open and all(stream.ends <= now for stream in self.waiting)

    def streams(self, tab: str | None = None) -> list[Stream]:
        """Return the streams of a tab, or all for None; the open ones come first."""
        streams = [*self.open.values(), *self.waiting]
        return streams if tab is None else [stream for stream in streams if stream.tab == tab]

    def metas(self) -> tuple[Meta, ...]:
        """Return the metas of its first :data:`MAX_METAS` tabs; of streams of one tab, the last."""
        shown: dict[Any, Meta] = {}
        for stream in self.streams():
            if len(shown) == MAX_METAS:
                break
            # A stream without a tab is known to be a tab of its own.
            shown[stream if stream.tab is None else stream.tab] = stream.meta()
        return tuple(shown.values())

    def awaited(self, tab: str | None) -> Stream | None:
        """Return the closed stream that a new stream of a tab continues, or None.

        Of several it is the one that closed first. None for the tab stands for clients that have no
        tab id: they continue each other's streams.
        """
        for stream in self.waiting:
            if stream.tab == tab:
                return stream
        return None
