"""Who is here: connections arrive and depart, members join and leave.

How it works. Each member has its open streams, and its closed ones that are waited for, each for the grace of the reason
for which it closed. A heap of ends tells what to look at next. A stream that opens takes the place of one that is waited
for: of the same tab, where it has a tab. When neither an open nor an awaited stream is left, the member has left.

Laws:

- **Every call returns what changed**, and holds nothing back: when it returns, the room is whole, and whoever acts on the
  changes may call it again.
- **Each departure is announced once.** What is past its grace is gone for every call, also before :meth:`Presence.expire`
  has found it; whichever call meets the member first announces it.
- **The roster is exact, the announcement waits**: :meth:`Presence.roster` says who is here and who is away at this moment,
  :meth:`Presence.announced` what the others were told.
- **Nobody leaves while a connection of his is open.** A browser that duplicates a tab copies its id, so the same tab may
  be open twice; each connection counts until it departs.
- **Time is an argument**: ``timer`` is monotonic, and nothing here waits.

Not thread-safe: a room is used from the thread of its event loop.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from ..errors import PresenceFullError
from ..keys import ANY, Key, as_key
from ..reasons import DEPARTURE_REASONS, check_departure_reason
from .records import Change, Grace, Member, Meta, check_meta
from .rules import Rules
from .states import Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .records import Reason
    from .states import MemberState

__all__ = ("EXPIRE_SLICE", "MAX_MEMBERS", "Presence")

#: Members at most, 50,000: five times the connections of a store of default size, for those that are waited for are
#: members too; some 50 MB.
MAX_MEMBERS: Final = 50_000

#: Members looked at by one call of :meth:`Presence.expire`, 250: announcing them costs some milliseconds. A
#: thousand that leave at once are announced in four turns, and everybody else's messages go on in between.
EXPIRE_SLICE: Final = 250


class Presence:
    """Who is here.

    Args:
        grace: how long departures wait; the defaults when left out.
        categories: what is different for the keys of a category.
        timer: the clock, in seconds, monotonic.
        max_members: members at most, 1 or more. Beyond, the one that has been without an open connection for longest is
            let go at once; when all have one, the newcomer is refused.

    Raises:
        ValueError: for a setting outside its range.
    """

    def __init__(
        self,
        grace: Grace | None = None,
        *,
        categories: Mapping[Any, Grace] | None = None,
        timer: Callable[[], float] = time.monotonic,
        max_members: int = MAX_MEMBERS,
    ) -> None:
        if isinstance(max_members, bool) or not isinstance(max_members, int) or max_members < 1:
            raise ValueError(f"max_members is a whole number from 1, not {max_members!r}")
        self.grace: Grace = grace or Grace()
        self.categories: dict[Any, Grace] = dict(categories or {})
        self.timer = timer
        self.max_members = max_members
        #: Whether changes of kind ``left`` say who remains, which costs a look at the whole roster.
        self.lists_remaining: bool = True
        self._rules = Rules(self.grace, self.categories)

    def __repr__(self) -> str:
        return f"<Presence: {len(self)} members, {len(self._rules.absent)} of them waited for>"

    def __len__(self) -> int:
        """Return how many members there are for the others: those who have joined, and were not announced as left."""
        return self._rules.roll.size

    def __bool__(self) -> bool:
        """Return True: presence that has no member yet is presence all the same."""
        return True

    def __contains__(self, key: object) -> bool:
        return self.member(key) is not None

    # -- what happens

    def arrive(
        self,
        key: object,
        connection: object,
        *,
        tab: str | None = None,
        device: str | None = None,
        data: Any = None,
        hidden: bool | None = None,
    ) -> list[Change]:
        """Take note of a connection that has opened.

        Args:
            key: ``(scope, (category, id))``.
            connection: any object; one that is known under this key already changes nothing.
            tab: the id of the browser's tab, up to :data:`~.records.MAX_LABEL` characters. A return within the grace to
                the same tab is a reload.
            device: the kind of device, in the application's words, up to as many.
            data: the application's own, up to :data:`~.records.MAX_DATA_SIZE` bytes as JSON; it must not be changed
                afterwards. None keeps what was known of the tab.
            hidden: whether the tab is hidden. None keeps what was known of the tab; where there is nothing, it is visible.

        Returns:
            ``joined`` for a new member, ``back`` for one that was away; nothing for a reload or a second tab.

        Raises:
            KeyShapeError: when it is no key.
            MetaError: when tab, device or data is not what it may be.
            PresenceFullError: when the room is full; nothing has changed then.
        """
        wanted = key if type(key) is Key else as_key(key)
        check_meta(tab, device, data)
        rules = self._rules
        state = rules.roll.find(wanted)
        if state is None:
            if rules.roll.size >= self.max_members and not rules.absent:
                raise PresenceFullError(wanted, self.max_members)
        elif id(connection) in state.open:
            return []
        now = self.timer()
        changes: list[Change] = []
        state = self._present(wanted, now, changes)
        if state is None and rules.roll.size >= self.max_members:
            rules.give_up(next(iter(rules.absent)), changes)
        # Whoever has left meanwhile has left before the newcomer came, and the newcomer is not among those who remained.
        changes = self._told(changes, now)
        meta = Meta(tab, device, now, data, bool(hidden))
        if state is None:
            state = rules.roll.enter(wanted)
            rules.open(Stream(state, connection, meta))
            rules.tell("joined", state, changes)
        else:
            rules.join(Stream(state, connection, meta), changes, as_it_was=hidden is None)
        return changes

    def depart(self, connection: object, reason: Reason, *, key: object = None) -> list[Change]:
        """Take note of a connection that has closed.

        Args:
            connection: one that is not known, or has departed already, changes nothing.
            reason: why; it decides how long the member is waited for.
            key: only under this key, where the connection stays open under others; None for all of its keys.

        Returns:
            ``left`` where there is nothing to wait for.

        Raises:
            ValueError: when there is no such reason.
        """
        if reason not in DEPARTURE_REASONS:
            check_departure_reason(reason)
        now = self.timer()
        changes: list[Change] = []
        wanted = None if key is None else as_key(key)
        for stream in list(self._rules.held.get(id(connection), ())):
            state = stream.state
            if wanted is None or state.key == wanted:
                self._rules.catch_up(state, now, changes)
                self._rules.end(state, [stream], reason, now, changes)
        return self._told(changes, now)

    def leave(self, key: object, tab: str | None = None) -> list[Change]:
        """Take note that a member has said that it leaves, whatever is still open.

        Args:
            key: the member's.
            tab: only this tab; None for everything.

        Returns:
            ``left``, unless another tab is open or awaited, or the grace of ``leave`` is above 0.
        """
        now = self.timer()
        changes: list[Change] = []
        state = self._present(key, now, changes)
        if state is not None:
            self._rules.end(state, state.streams(tab), "leave", now, changes)
        return self._told(changes, now)

    def hide(self, key: object, tab: str | None = None) -> list[Change]:
        """Take note that a member's tab is hidden; if its stream has closed it is waited for longer, counted from now.

        Args:
            key: the member's; one who is not here changes nothing.
            tab: which tab; None for all of the member's.

        Returns:
            ``away``, when no other tab of the member is visible.
        """
        return self._turn(key, tab, hidden=True)

    def show(self, key: object, tab: str | None = None) -> list[Change]:
        """Take note that a member's tab is visible again; if its stream has closed it is waited for like a reload.

        Arguments as for :meth:`hide`.

        Returns:
            ``back``, when the member was away.
        """
        return self._turn(key, tab, hidden=False)

    def update(self, key: object, data: Any, tab: str | None = None) -> list[Change]:
        """Put other data of the application in the place of what a member has.

        Args:
            key: the member's; one who is not here changes nothing.
            data: as for :meth:`arrive`.
            tab: only for this tab; None for all of the member's.

        Returns:
            ``changed``, when it is not what it was.

        Raises:
            MetaError: when the data is too large, or cannot be written as JSON.
        """
        check_meta(None, None, data)
        now = self.timer()
        changes: list[Change] = []
        state = self._present(key, now, changes)
        if state is not None:
            changed = [stream for stream in state.streams(tab) if stream.data != data]
            for stream in changed:
                stream.data = data
            if changed:
                self._rules.tell("changed", state, changes)
        return self._told(changes, now)

    def expire(self, limit: int = EXPIRE_SLICE) -> list[Change]:
        """Announce those whose grace has ended.

        Args:
            limit: members to look at; when more are due, :meth:`next_expiry` says "now".

        Returns:
            ``left``, and ``away`` where only hidden tabs are left of a member; in the order in which the waits ended.
        """
        now = self.timer()
        changes: list[Change] = []
        for _ in range(limit):
            stream = self._rules.waits.first()
            if stream is None or stream.ends > now:
                break
            self._rules.catch_up(stream.state, now, changes)
        return self._told(changes, now)

    def next_expiry(self) -> float | None:
        """Return the time, on ``timer``, at which :meth:`expire` should be called next; None for never."""
        stream = self._rules.waits.first()
        return None if stream is None else stream.ends

    # -- looking

    def member(self, key: object) -> Member | None:
        """Return one member as it is at this moment, or None when it is not here."""
        state = self._rules.roll.find(key if type(key) is Key else as_key(key))
        if state is None or state.is_over(self.timer()):
            return None
        return Member(state.key, state.metas(), state.away)

    def roster(self, pattern: object = (ANY, ANY)) -> list[Member]:
        """Return who is here at this moment, exactly, in order of joining.

        Args:
            pattern: ``(scope, (category, id))`` with ANY in any place.

        Returns:
            Those with an open connection, and, as ``away``, those who are waited for.
        """
        now = self.timer()
        return [
            Member(state.key, state.metas(), state.away)
            for state in self._rules.roll.matching(pattern)
            if not state.is_over(now)
        ]

    def announced(self, pattern: object = (ANY, ANY)) -> list[Member]:
        """Return who is here for the others, as they were told last: to a newcomer who knows this, coming changes fit."""
        return [state.told for state in self._rules.roll.matching(pattern)]

    def is_open(self, key: object, connection: object) -> bool:
        """Tell whether a connection has arrived under a key, and has not departed."""
        state = self._rules.roll.find(key if type(key) is Key else as_key(key))
        return state is not None and id(connection) in state.open

    def connections(self, key: object, tab: str | None = None) -> list[Any]:
        """Return the open connections of a member, or of one of its tabs, in order of arrival."""
        state = self._rules.roll.find(key if type(key) is Key else as_key(key))
        return (
            []
            if state is None
            else [stream.connection for stream in state.streams(tab) if stream.place is None]
        )

    def _present(self, key: object, now: float, changes: list[Change]) -> MemberState | None:
        """Return a member that is here, having let it go if its grace has ended."""
        wanted = key if type(key) is Key else as_key(key)
        state = self._rules.roll.find(wanted)
        if state is not None:
            self._rules.catch_up(state, now, changes)
        return self._rules.roll.find(wanted)

    def _turn(self, key: object, tab: str | None, *, hidden: bool) -> list[Change]:
        now = self.timer()
        changes: list[Change] = []
        state = self._present(key, now, changes)
        if state is not None:
            self._rules.turn(state, state.streams(tab), now, changes, hidden=hidden)
        return self._told(changes, now)

    def _told(self, changes: list[Change], now: float) -> list[Change]:
        """Return the changes of a call that has done everything else, with those who remain now."""
        if not self.lists_remaining:
            return changes
        remaining: dict[tuple[Any, Any], tuple[Key, ...]] = {}
        for number, change in enumerate(changes):
            if change.kind == "left":
                place = (change.key.scope, change.key.inner[0])
                if place not in remaining:
                    remaining[place] = self._rules.remaining(change.key, now)
                changes[number] = change._replace(remaining=remaining[place])
        return changes
