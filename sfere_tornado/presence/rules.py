"""What follows from what: a stream opens, ends, is hidden; so its member has left, is away, is back.

Every method here is a part of one call of the room, whose time and whose list of changes it is given. Between two
methods a member may be without any stream; :meth:`Rules.settle` draws the consequence, and is called after all else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .records import Change, Member
from .roll import Roll
from .states import MAX_METAS
from .waits import Waits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..keys import Key
    from .records import Grace, Kind, Meta, Reason
    from .states import MemberState, Stream

__all__ = ("Rules",)


class Rules:
    """The members of a room, and the rules of their coming and going.

    Args:
        grace: how long departures wait.
        categories: what is different for the keys of a category.
    """

    __slots__ = ("_categories", "_grace", "absent", "held", "roll", "waits")

    def __init__(self, grace: Grace, categories: Mapping[Any, Grace]) -> None:
        self._grace = grace
        self._categories = categories
        self.roll: Roll = Roll()
        self.waits: Waits = Waits()
        #: The open streams of each connection, by ``id(connection)``: one under each of its keys.
        self.held: dict[int, list[Stream]] = {}
        #: Members without an open stream, by how long.
        self.absent: dict[MemberState, None] = {}

    def __repr__(self) -> str:
        return f"<Rules: {self.roll.size} members, {len(self.absent)} of them waited for>"

    def grace_of(self, state: MemberState) -> Grace:
        """Return how long the departures of a member wait."""
        return self._categories.get(state.key.inner[0], self._grace)

    def open(self, stream: Stream) -> None:
        """Add an open stream to its member."""
        ident = id(stream.connection)
        stream.state.open[ident] = stream
        self.held.setdefault(ident, []).append(stream)

    def join(self, stream: Stream, changes: list[Change], *, as_it_was: bool) -> None:
        """Open a stream of a member who is here; it continues one that is waited for, where one fits.

        Args:
            stream: the stream.
            changes: to which changes are added.
            as_it_was: whether its tab, where it has one, is hidden if it was: a stream that breaks opens again by itself,
                whether anybody looks or not.
        """
        state = stream.state
        if as_it_was and stream.tab is not None:
            known = state.streams(stream.tab)
            stream.hidden = bool(known) and all(other.hidden for other in known)
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
            self.tell("changed", state, changes)

    def end(
        self,
        state: MemberState,
        streams: list[Stream],
        reason: Reason,
        now: float,
        changes: list[Change],
    ) -> None:
        """End some streams of a member, open or awaited, for one reason."""
        if not streams:
            return
        metas = state.metas()
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
                # Whoever looks at a page whose stream has closed is about to open it, whatever closed it.
                self._wait(stream, stream.reason if hidden else "client", now)
        self.settle(state, changes, "client", metas)

    def catch_up(self, state: MemberState, now: float, changes: list[Change]) -> None:
        """Stop waiting for those streams of a member whose grace has ended."""
        self._let_go(state, [stream for stream in state.waiting if stream.ends <= now], changes)

    def give_up(self, state: MemberState, changes: list[Change]) -> None:
        """Stop waiting for a member without an open stream, whose grace has not ended."""
        self._let_go(state, list(state.waiting), changes)

    def settle(
        self,
        state: MemberState,
        changes: list[Change],
        reason: Reason | None = None,
        metas: tuple[Meta, ...] = (),
    ) -> None:
        """Draw the consequence of what became of a member's streams.

        Args:
            state: the member's.
            changes: to which a change is added, if there is one.
            reason: why it has left, if it has.
            metas: its connections before.
        """
        if not state.open and not state.waiting:
            self.roll.remove(state)
            self.absent.pop(state, None)
            if reason != "shutdown" or self.grace_of(state).shutdown is not None:
                changes.append(Change("left", state.key, metas, state.told.away, reason))
            return
        if state.open:
            self.absent.pop(state, None)
        else:
            self.absent.setdefault(state)
        away = state.away_to_tell
        if away is not state.told.away:
            self.tell("away" if away else "back", state, changes)

    def tell(self, kind: Kind, state: MemberState, changes: list[Change]) -> None:
        """Add a change of a member who is here."""
        state.told = Member(state.key, state.metas(), state.away_to_tell)
        changes.append(Change(kind, *state.told))

    def remaining(self, key: Key, now: float) -> tuple[Key, ...]:
        """Return the members of a key's scope and category who are here."""
        beside = self.roll.beside(key)
        first = self.waits.first()
        if first is not None and first.ends <= now:
            # More are due than one slice takes: they are gone, only not announced yet.
            return tuple(other for other, state in beside.items() if not state.is_over(now))
        return tuple(beside)

    def _let_go(self, state: MemberState, streams: list[Stream], changes: list[Change]) -> None:
        if not streams:
            return
        metas = state.metas()
        last = max(streams, key=_end_of)
        for stream in streams:
            self._drop(stream)
        self.settle(state, changes, last.reason, metas)

    def _drop(self, stream: Stream) -> None:
        state = stream.state
        if stream.place is not None:
            state.waiting.remove(stream)
            self.waits.stop(stream)
            return
        ident = id(stream.connection)
        del state.open[ident]
        held = self.held[ident]
        held.remove(stream)
        if not held:
            del self.held[ident]
        stream.connection = None

    def _wait(self, stream: Stream, reason: Reason, now: float) -> None:
        """Wait for a stream that has been dropped, if its reason asks for that."""
        state = stream.state
        if stream.tab is not None and any(other.tab == stream.tab for other in state.open.values()):
            # Its tab is here through another connection: nobody else will come back for it.
            return
        seconds = self.grace_of(state).wait(reason, hidden=stream.hidden)
        if seconds:
            stream.reason = reason
            state.waiting.append(stream)
            self.waits.begin(stream, now + seconds)
            if len(state.waiting) > MAX_METAS:
                # The others are waited for longer, so nobody leaves earlier for it.
                self._drop(min(state.waiting, key=_end_of))


def _end_of(stream: Stream) -> float:
    return stream.ends
