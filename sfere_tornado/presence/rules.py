"""The rules of presence: streams open, close and are hidden; so members leave, are away, come back.

Each method is one step of a call of :class:`.Presence`. It is passed the time of that call and the
list of its changes. Between two steps a member may have no stream at all; :meth:`Rules.settle` is
always the last step, and draws the conclusion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .members import Members
from .records import Change, Member
from .states import MAX_METAS
from .waits import Waits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..keys import Key
    from .records import Grace, Kind, Meta, Reason
    from .states import MemberState, Stream

__all__ = ("Rules",)


class Rules:
    """The members, and what becomes of them.

    Args:
        grace: how long departures wait.
        categories: the grace of keys of a category, where it differs.
    """

    __slots__ = ("_categories", "_grace", "absent", "members", "open_streams", "waits")

    def __init__(self, grace: Grace, categories: Mapping[Any, Grace]) -> None:
        self._grace = grace
        self._categories = categories
        self.members: Members = Members()
        self.waits: Waits = Waits()
        #: The open streams of each connection, by ``id(connection)``: one under each of its keys.
        self.open_streams: dict[int, list[Stream]] = {}
        #: Members without an open stream; the one that has had none for longest comes first.
        self.absent: dict[MemberState, None] = {}

    def __repr__(self) -> str:
        return f"<Rules: {self.members.size} members, {len(self.absent)} of them waited for>"

    def grace_of(self, state: MemberState) -> Grace:
        """Return how long the departures of a member wait."""
        return self._categories.get(state.key.inner[0], self._grace)

    def open(self, stream: Stream) -> None:
        """Add an open stream to its member."""
        ident = id(stream.connection)
        stream.state.open[ident] = stream
        self.open_streams.setdefault(ident, []).append(stream)

    def join(self, stream: Stream, changes: list[Change], *, inherit_hidden: bool) -> None:
        """Open another stream of a member; it continues a closed stream of the same tab.

        Args:
            stream: the stream.
            changes: changes are added to it.
            inherit_hidden: whether it is hidden if all streams of its tab were. Browsers also
                reconnect the streams of hidden tabs, so an arrival does not show that a tab is
                visible.
        """
        state = stream.state
        if inherit_hidden and stream.tab is not None:
            same_tab = state.streams(stream.tab)
            stream.hidden = bool(same_tab) and all(other.hidden for other in same_tab)
        awaited = state.awaited(stream.tab)
        changed = False
        if awaited is not None:
            stream.since = awaited.since
            if stream.data is None:
                stream.data = awaited.data
            changed = stream.data != awaited.data
            self._drop(awaited)
        while state.waiting and len(state.open) + len(state.waiting) >= MAX_METAS:
            self._drop(state.waiting[0])
        self.open(stream)
        self.settle(state, changes)
        if changed:
            self.announce("changed", state, changes)

    def end(
        self,
        state: MemberState,
        streams: list[Stream],
        reason: Reason,
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
        self.settle(state, changes, reason, metas)

    def turn(
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
        self.settle(state, changes, "client", metas)

    def catch_up(self, state: MemberState, now: float, changes: list[Change]) -> bool:
        """End the waits of a member whose grace has ended; return whether it is still a member."""
        if state.waiting:
            self._let_go(state, [stream for stream in state.waiting if stream.ends <= now], changes)
        return bool(state.open or state.waiting)

    def give_up(self, state: MemberState, changes: list[Change]) -> None:
        """Let a member without an open stream leave before its grace has ended."""
        self._let_go(state, list(state.waiting), changes)

    def settle(
        self,
        state: MemberState,
        changes: list[Change],
        reason: Reason | None = None,
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
            if reason != "shutdown" or self.grace_of(state).shutdown is not None:
                changes.append(Change("left", state.key, metas, state.announced.away, reason))
            return
        if state.open:
            self.absent.pop(state, None)
        else:
            self.absent.setdefault(state)
        away = state.away_to_announce
        if away is not state.announced.away:
            self.announce("away" if away else "back", state, changes)

    def announce(self, kind: Kind, state: MemberState, changes: list[Change]) -> None:
        """Add a change of a member that is here."""
        metas, away = state.metas(), state.away_to_announce
        state.announced = Member(state.key, metas, away)
        changes.append(Change(kind, state.key, metas, away))

    def remaining(self, key: Key, now: float) -> tuple[Key, ...]:
        """Return the members of a key's scope and category that are here."""
        group = self.members.group_of(key)
        first = self.waits.first()
        if first is not None and first.ends <= now:
            # More waits have ended than one slice announces: those members have left, too.
            return tuple(other for other, state in group.items() if not state.is_over(now))
        return tuple(group)

    def _let_go(self, state: MemberState, streams: list[Stream], changes: list[Change]) -> None:
        if not streams:
            return
        metas = state.metas()
        last = max(streams, key=_end_of)
        for stream in streams:
            self._drop(stream)
        self.settle(state, changes, last.reason, metas)

    def _drop(self, stream: Stream) -> None:
        """Remove a stream, open or waited for, from everything that knows it."""
        state = stream.state
        if stream.wait is not None:
            state.waiting.remove(stream)
            self.waits.stop(stream)
            return
        ident = id(stream.connection)
        del state.open[ident]
        streams = self.open_streams[ident]
        streams.remove(stream)
        if not streams:
            del self.open_streams[ident]
        # A stream that is waited for must not keep its closed connection in memory.
        stream.connection = None

    def _wait(self, stream: Stream, reason: Reason, now: float) -> None:
        """Wait for a dropped stream, if there is a grace for the reason."""
        state = stream.state
        if stream.tab is not None and any(other.tab == stream.tab for other in state.open.values()):
            # Another open connection has the tab, so no stream will come back for this one.
            return
        seconds = self.grace_of(state).wait(reason, hidden=stream.hidden)
        if seconds:
            stream.reason = reason
            state.waiting.append(stream)
            self.waits.begin(stream, now + seconds)
            if len(state.waiting) > MAX_METAS:
                # The wait that ends first: the others last longer, so the member leaves no earlier.
                self._drop(min(state.waiting, key=_end_of))


def _end_of(stream: Stream) -> float:
    return stream.ends
