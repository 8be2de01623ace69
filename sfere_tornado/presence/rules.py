"""The rules of presence: streams open, close and are hidden; so members leave, are away, come back.

How it works. :meth:`.Presence.apply` calls one public method for each fact, with its time and the
list of its changes. The others are steps of it. Between two steps a member may have no stream at
all; the last step, ``_settle``, draws the conclusion.

A result depends on the facts so far and on their times, and on nothing else: no clock is read, and
no object's identity or hash decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .facts import Hidden
from .members import Members
from .records import Change, Member, Meta
from .states import MAX_METAS, Stream
from .waits import Waits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..keys import Key
    from .facts import Arrived, ConnectionId, Departed, Left, Shown, Updated
    from .records import ChangeKind, DepartureReason, Grace
    from .states import MemberState

__all__ = ("Rules",)


class Rules:
    """The members, and what becomes of them.

    Args:
        grace: how long departures wait.
        categories: the grace of keys of a category, where it differs.
    """

    __slots__ = (
        "_categories",
        "_grace",
        "absent",
        "connections",
        "members",
        "open_streams",
        "waits",
    )

    def __init__(self, grace: Grace, categories: Mapping[Any, Grace]) -> None:
        self._grace = grace
        self._categories = categories
        self.members: Members = Members()
        self.waits: Waits = Waits()
        #: The open streams of each connection, by its id: one under each of its keys.
        self.open_streams: dict[ConnectionId, list[Stream]] = {}
        #: The connections of this process that have open streams, by id. While a connection is
        #: here, no other object has its ``id()``.
        self.connections: dict[ConnectionId, object] = {}
        #: Members without an open stream; the one that has had none for longest comes first.
        self.absent: dict[MemberState, None] = {}

    def __repr__(self) -> str:
        return f"<Rules: {self.members.size} members, {len(self.absent)} of them waited for>"

    def _grace_of(self, state: MemberState) -> Grace:
        """Return how long the departures of a member wait."""
        return self._categories.get(state.key.inner[0], self._grace)

    # -- facts

    def arrived(self, fact: Arrived, now: float, changes: list[Change], max_members: int) -> None:
        """Open a stream; its member joins, unless it is here.

        For a newcomer beyond ``max_members``, the wait of a member without an open stream ends.
        """
        ident = fact.connection_id
        state = self.members.find(fact.key)
        if state is not None:
            if ident in state.open:
                return
            if not self._catch_up(state, now, changes):
                state = None
        is_new = state is None
        if state is None:
            if self.members.size >= max_members and self.absent:
                absent = next(iter(self.absent))
                self._let_go(absent, list(absent.waiting), changes)
            state = self.members.add(fact.key)
        stream = Stream(
            state, ident, Meta(fact.tab, fact.device, now, fact.data, bool(fact.hidden))
        )
        is_changed = not is_new and self._continue(stream, inherit_hidden=fact.hidden is None)
        state.open[ident] = stream
        self.open_streams.setdefault(ident, []).append(stream)
        if is_new:
            self._announce("joined", state, changes)
            return
        self._settle(state, changes)
        if is_changed:
            self._announce("changed", state, changes)

    def departed(self, fact: Departed, now: float, changes: list[Change]) -> None:
        """Close the streams of a connection, and wait for them, by the reason."""
        key = fact.key
        for stream in list(self.open_streams.get(fact.connection_id, ())):
            state = stream.state
            if key is None or state.key == key:
                self._catch_up(state, now, changes)
                self._end(state, [stream], fact.reason, now, changes)

    def left(self, fact: Left, now: float, changes: list[Change]) -> None:
        """Close the streams of a member, or of one of its tabs, open or waited for."""
        state = self.present(fact.key, now, changes)
        if state is not None:
            self._end(state, state.streams(fact.tab), "leave", now, changes)

    def turned(self, fact: Hidden | Shown, now: float, changes: list[Change]) -> None:
        """Hide or show the streams of a member, or of one of its tabs."""
        state = self.present(fact.key, now, changes)
        if state is not None:
            hidden = type(fact) is Hidden
            self._turn(state, state.streams(fact.tab), now, changes, hidden=hidden)

    def updated(self, fact: Updated, now: float, changes: list[Change]) -> None:
        """Replace the data of a member, or of one of its tabs."""
        state = self.present(fact.key, now, changes)
        if state is None:
            return
        differing = [stream for stream in state.streams(fact.tab) if stream.data != fact.data]
        for stream in differing:
            stream.data = fact.data
        if differing:
            self._announce("changed", state, changes)

    def present(self, key: Key, now: float, changes: list[Change]) -> MemberState | None:
        """Return a member that is here; one whose grace has ended leaves instead."""
        state = self.members.find(key)
        return state if state is not None and self._catch_up(state, now, changes) else None

    # -- steps

    def _continue(self, stream: Stream, *, inherit_hidden: bool) -> bool:
        """Have a stream that opens continue a closed stream of the same tab, if there is one.

        Args:
            stream: the stream; its member is here.
            inherit_hidden: whether it is hidden if all streams of its tab were. Browsers also
                reconnect the streams of hidden tabs, so an arrival does not show that a tab is
                visible.

        Returns:
            Whether the data of the tab is another now.
        """
        state = stream.state
        if inherit_hidden and stream.tab is not None:
            same_tab = state.streams(stream.tab)
            stream.hidden = bool(same_tab) and all(other.hidden for other in same_tab)
        awaited = state.awaited(stream.tab)
        is_changed = False
        if awaited is not None:
            stream.since = awaited.since
            if stream.data is None:
                stream.data = awaited.data
            is_changed = stream.data != awaited.data
            self._drop(awaited)
        while state.waiting and len(state.open) + len(state.waiting) >= MAX_METAS:
            self._drop(state.waiting[0])
        return is_changed

    def _end(
        self,
        state: MemberState,
        streams: list[Stream],
        reason: DepartureReason,
        now: float,
        changes: list[Change],
    ) -> None:
        """End some streams of a member, open or waited for, for one reason."""
        if not streams:
            return
        metas = state.metas()
        # All are dropped before the first is waited for: two streams of one tab that end together
        # must not each take the other for a stream that keeps the tab here.
        for stream in streams:
            self._drop(stream)
        for stream in streams:
            self._wait(stream, reason, now)
        self._settle(state, changes, reason, metas)

    def _turn(
        self,
        state: MemberState,
        streams: list[Stream],
        now: float,
        changes: list[Change],
        *,
        hidden: bool,
    ) -> None:
        """Hide or show some streams of a member."""
        metas = state.metas()
        for stream in streams:
            if stream.hidden is hidden:
                continue
            stream.hidden = hidden
            if stream.reason is not None:
                self._drop(stream)
                # A visible page whose stream has closed is about to open it again, whatever the
                # reason of the closing was: wait as for a reload.
                self._wait(stream, stream.reason if hidden else "client", now)
        self._settle(state, changes, "client", metas)

    def _catch_up(self, state: MemberState, now: float, changes: list[Change]) -> bool:
        """End the waits of a member whose grace has ended; return whether it is still a member."""
        if state.waiting:
            self._let_go(state, [stream for stream in state.waiting if stream.ends <= now], changes)
        return bool(state.open or state.waiting)

    def _settle(
        self,
        state: MemberState,
        changes: list[Change],
        reason: DepartureReason | None = None,
        metas: tuple[Meta, ...] = (),
    ) -> None:
        """Draw the conclusion from what became of a member's streams.

        Args:
            state: the member.
            changes: the change, if there is one, is added to it.
            reason: why it has left, if it has.
            metas: its metas before.
        """
        if not state.open and not state.waiting:
            self.members.remove(state)
            self.absent.pop(state, None)
            if reason != "shutdown" or self._grace_of(state).shutdown is not None:
                changes.append(Change("left", state.key, metas, state.announced.away, reason))
            return
        if state.open:
            self.absent.pop(state, None)
        else:
            self.absent.setdefault(state)
        away = state.away_to_announce
        if away is not state.announced.away:
            self._announce("away" if away else "back", state, changes)

    def _announce(self, kind: ChangeKind, state: MemberState, changes: list[Change]) -> None:
        """Add a change of a member that is here."""
        metas, away = state.metas(), state.away_to_announce
        state.announced = Member(state.key, metas, away)
        self.members.changed(state)
        changes.append(Change(kind, state.key, metas, away))

    def _let_go(self, state: MemberState, streams: list[Stream], changes: list[Change]) -> None:
        if not streams:
            return
        metas = state.metas()
        last = max(streams, key=_end_of)
        for stream in streams:
            self._drop(stream)
        self._settle(state, changes, last.reason, metas)

    def _drop(self, stream: Stream) -> None:
        """Remove a stream, open or waited for, from everything that knows it."""
        state = stream.state
        if stream.wait is not None:
            state.waiting.remove(stream)
            self.waits.stop(stream)
            return
        ident = stream.connection_id
        del state.open[ident]
        streams = self.open_streams[ident]
        streams.remove(stream)
        if not streams:
            del self.open_streams[ident]
            # A stream that is waited for must not keep its closed connection in memory.
            self.connections.pop(ident, None)

    def _wait(self, stream: Stream, reason: DepartureReason, now: float) -> None:
        """Wait for a dropped stream, if there is a grace for the reason."""
        state = stream.state
        if stream.tab is not None and any(other.tab == stream.tab for other in state.open.values()):
            # Another open connection has the tab, so no stream will come back for this one.
            return
        seconds = self._grace_of(state).wait(reason, hidden=stream.hidden)
        if seconds:
            stream.reason = reason
            state.waiting.append(stream)
            self.waits.begin(stream, now + seconds)
            if len(state.waiting) > MAX_METAS:
                # The wait that ends first: the others last longer, so the member leaves no earlier.
                self._drop(min(state.waiting, key=_end_of))


def _end_of(stream: Stream) -> float:
    return stream.ends
