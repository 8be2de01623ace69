"""Who is here: connections arrive and depart, members join and leave.

How it works. A member has open streams, and closed streams that are waited for, each for the grace
of the reason for which it closed. A heap of the ends of waits tells what is due next. A stream that
opens continues a closed one: that of its tab, where it has a tab. A member without a stream, open
or waited for, has left.

What happens is a fact, see :mod:`.facts`. The methods that record it check their arguments, make
the fact, and apply it in the same call.

Laws:

- **Every call returns what changed.** It calls nothing back. When it returns, all state is
  consistent, so a caller that acts on the changes may call again.
- **Each departure is announced once.** A member past its grace has left for every call, also before
  :meth:`Presence.expire` looks at it. The first call that meets it announces it.
- **The roster is exact, the announcement waits.** :meth:`Presence.roster` tells who is here and who
  is away at this moment, :meth:`Presence.announced` what the others know.
- **A member stays while one of its connections is open.** A browser that duplicates a tab copies
  the tab's id, so one tab may be open twice. Each connection counts until it departs.
- **Time is an argument.** ``timer`` is monotonic, and nothing here waits. :meth:`Presence.apply`
  does not read it: the same facts with the same times have the same result in every process.

Not thread-safe: call it from the thread of its event loop.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from ..errors import PresenceFullError
from ..keys import ANY, Key, as_key
from ..reasons import DEPARTURE_REASONS, check_departure_reason
from .facts import Arrived, Departed, Hidden, Left, Shown, Updated, WaitEnded
from .records import Grace, Member, Page, check_meta
from .rules import Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .facts import Fact
    from .records import Change, Departure, DepartureReason
    from .states import MemberGroup

__all__ = ("EXPIRE_SLICE", "MAX_MEMBERS", "PAGE_SIZE", "Presence")

#: Members at most, 50,000, some 50 MB: five times the connections of a store of default size,
#: because members that are waited for count, too.
MAX_MEMBERS: Final = 50_000

#: Waits that one call of :meth:`Presence.expire` ends, 250: announcing them takes some
#: milliseconds. A thousand members that leave together are announced in four turns of the loop, and
#: the other messages go out in between.
EXPIRE_SLICE: Final = 250

#: Members of a page, 50: as many as a list on a screen shows, some 5 KB.
PAGE_SIZE: Final = 50

_BY_NUMBER: Final = attrgetter("number")


class Presence:
    """Who is here.

    Args:
        grace: how long departures wait; None for the defaults.
        categories: the grace of keys of a category, where it differs.
        timer: the clock, in seconds, monotonic.
        starts: the clock of departures, whose graces begin then; by default ``timer``. A timer that
            is behind for a moment would end them early.
        max_members: members at most, 1 or more. For a newcomer beyond it, the member that has been
            without an open connection for longest leaves early. When each member has one, the
            newcomer is refused.

    Raises:
        ValueError: ``max_members`` is not a whole number from 1.
    """

    def __init__(
        self,
        grace: Grace | None = None,
        *,
        categories: Mapping[Any, Grace] | None = None,
        timer: Callable[[], float] = time.monotonic,
        starts: Callable[[], float] | None = None,
        max_members: int = MAX_MEMBERS,
    ) -> None:
        if isinstance(max_members, bool) or not isinstance(max_members, int) or max_members < 1:
            raise ValueError(f"max_members is a whole number from 1, not {max_members!r}")
        self.grace: Grace = grace or Grace()
        self.categories: dict[Any, Grace] = dict(categories or {})
        self.timer: Callable[[], float] = timer
        self._starts = starts or timer
        self.max_members: int = max_members
        self._rules = Rules(self.grace, self.categories)
        #: Returns the members of a key's scope and category; the caller must not change them.
        self.group: Callable[[Key], MemberGroup] = self._rules.members.group_of

    def __repr__(self) -> str:
        return f"<Presence: {len(self)} members, {len(self._rules.absent)} of them waited for>"

    def __len__(self) -> int:
        """Return the number of announced members: joined, and not yet returned as ``left``."""
        return self._rules.members.size

    def __bool__(self) -> bool:
        """Return True: presence without members is switched on all the same."""
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
        """Record that a connection has opened.

        Args:
            key: ``(scope, (category, id))``.
            connection: any object; one that is open under this key already changes nothing.
            tab: the id of the browser's tab, up to :data:`~.records.MAX_LABEL` characters. A return
                to the same tab within the grace is a reload.
            device: the kind of device, in the application's words, up to as many characters.
            data: the application's own, up to :data:`~.records.MAX_DATA_SIZE` bytes as JSON. It
                must not be changed afterwards. None keeps the data of the tab.
            hidden: whether the tab is hidden. None keeps what is known of the tab; a tab that is
                not known is visible.

        Returns:
            ``joined`` for a new member, ``back`` for one that was away; nothing for a reload or a
            second tab. In front of it, ``left`` of members that make place or are past their grace.

        Raises:
            KeyShapeError: It is not a valid key.
            MetaError: The tab, device or data is not valid.
            PresenceFullError: There are ``max_members``, each with an open connection; nothing has
                changed.
        """
        member_key = key if type(key) is Key else as_key(key)
        check_meta(tab, device, data)
        rules = self._rules
        if (
            rules.members.size >= self.max_members
            and not rules.absent
            and rules.members.find(member_key) is None
        ):
            raise PresenceFullError(member_key, self.max_members)
        fact = Arrived(member_key, id(connection), tab, device, data, hidden)
        changes = self.apply(fact, self.timer())
        rules.connections[fact.connection_id] = connection
        return changes

    def depart(
        self, connection: object, reason: DepartureReason, *, key: object = None
    ) -> list[Change]:
        """Record that a connection has closed.

        Args:
            connection: the connection; one that is not open here changes nothing.
            reason: why; it decides how long the member is waited for.
            key: only under this key, because the connection stays open under others; None for all
                of its keys.

        Returns:
            ``left`` where there is no grace.

        Raises:
            KeyShapeError: It is not a valid key.
            ValueError: It is not a valid reason.
        """
        if reason not in DEPARTURE_REASONS:
            check_departure_reason(reason)
        fact = Departed(id(connection), reason, None if key is None else as_key(key))
        return self.apply(fact, self._starts())

    def depart_many(self, departures: Iterable[Departure]) -> list[Change]:
        """Record that several connections have closed, in this order.

        Args:
            departures: of each, the arguments of :meth:`depart`.

        Returns:
            As for :meth:`depart`.

        Raises:
            ValueError: A reason is not valid; the departures before it are recorded.
        """
        changes: list[Change] = []
        for connection, reason, key in departures:
            changes += self.depart(connection, reason, key=key)
        return changes

    def leave(self, key: object, tab: str | None = None) -> list[Change]:
        """Record that a client says that its member leaves; its streams may still be open.

        Args:
            key: the member's.
            tab: only this tab; None for all.

        Returns:
            ``left``, unless another tab is open or waited for, or ``leave`` has a grace.
        """
        return self.apply(Left(as_key(key), tab), self.timer())

    def hide(self, key: object, tab: str | None = None) -> list[Change]:
        """Record that a member's tab is hidden.

        A closed stream of it is waited for longer, from now on.

        Args:
            key: the member's; a key without a member changes nothing.
            tab: which tab; None for all of the member's.

        Returns:
            ``away``, when no other tab of the member is visible.
        """
        return self.apply(Hidden(as_key(key), tab), self.timer())

    def show(self, key: object, tab: str | None = None) -> list[Change]:
        """Record that a member's tab is visible again.

        A closed stream of it is waited for like that of a reload, from now on.

        Args:
            key: as for :meth:`hide`.
            tab: as for :meth:`hide`.

        Returns:
            ``back``, when the member was away.
        """
        return self.apply(Shown(as_key(key), tab), self.timer())

    def update(self, key: object, data: Any, tab: str | None = None) -> list[Change]:
        """Replace the application's data of a member.

        Args:
            key: the member's; a key without a member changes nothing.
            data: as for :meth:`arrive`.
            tab: only for this tab; None for all of the member's.

        Returns:
            ``changed``, when the data differs.

        Raises:
            MetaError: The data is too large, or cannot be written as JSON.
        """
        check_meta(None, None, data)
        return self.apply(Updated(as_key(key), data, tab), self.timer())

    def expire(self, limit: int = EXPIRE_SLICE) -> list[Change]:
        """Announce the members whose grace has ended.

        Args:
            limit: members to look at. When more are due, :meth:`next_expiry` returns a time that
                has passed.

        Returns:
            ``left``, and ``away`` for a member of which only hidden tabs are left; in the order in
            which the waits ended.
        """
        now = self.timer()
        changes: list[Change] = []
        for _ in range(limit):
            stream = self._rules.waits.first()
            if stream is None or stream.ends > now:
                break
            changes += self.apply(WaitEnded(stream.state.key), now)
        return changes

    def next_expiry(self) -> float | None:
        """Return the time, on ``timer``, at which to call :meth:`expire` next; None for never."""
        stream = self._rules.waits.first()
        return None if stream is None else stream.ends

    def apply(self, fact: Fact, now: float) -> list[Change]:
        """Apply a fact; all the methods that record something do it with this one.

        Args:
            fact: what happened; its fields are not checked.
            now: when, in seconds on ``timer``; not before the time of the last call, but for the
                moment by which ``starts`` may be ahead.

        Returns:
            What changed, without the members that remain; see :meth:`with_remaining`. A newcomer
            beyond ``max_members`` joins when no other member can make place: whether it may is
            asked before a fact is made of it.
        """
        rules = self._rules
        changes: list[Change] = []
        match fact:
            case Arrived():
                rules.arrived(fact, now, changes, self.max_members)
            case Departed():
                rules.departed(fact, now, changes)
            case Left():
                rules.left(fact, now, changes)
            case Hidden() | Shown():
                rules.turned(fact, now, changes)
            case Updated():
                rules.updated(fact, now, changes)
            case WaitEnded():
                rules.present(fact.key, now, changes)
        return changes

    # -- looking

    def member(self, key: object) -> Member | None:
        """Return one member as it is at this moment, or None when it is not here."""
        state = self._rules.members.find(key if type(key) is Key else as_key(key))
        if state is None or state.is_over(self.timer()):
            return None
        return Member(state.key, state.metas(), state.away)

    def roster(self, pattern: object = (ANY, ANY)) -> list[Member]:
        """Return who is here at this moment, exactly, in order of joining.

        Args:
            pattern: ``(scope, (category, id))`` with ANY in any place.

        Returns:
            The members with an open connection and, as ``away``, those that are waited for.
        """
        now = self.timer()
        return [
            Member(state.key, state.metas(), state.away)
            for state in self._rules.members.matching(pattern)
            if not state.is_over(now)
        ]

    def announced(self, pattern: object = (ANY, ANY)) -> list[Member]:
        """Return the members as they were announced last.

        Coming changes continue it: a newcomer that is sent it misses none, and gets none twice.

        Args:
            pattern: as for :meth:`roster`.
        """
        return [state.announced for state in self._rules.members.matching(pattern)]

    def count(self, key: object) -> int:
        """Return how many members were announced in the scope and category of a key."""
        return len(self._rules.members.group_of(key if type(key) is Key else as_key(key)).states)

    def page(self, key: object, after: int = 0, limit: int = PAGE_SIZE) -> Page:
        """Return some of the members of a scope and category, as they were announced last.

        Pages go by the order of joining, so a member that stays is on one of them, whatever others
        do between two calls.

        Args:
            key: ``(scope, (category, id))`` of a member that may see them; a pattern is refused.
            after: ``next`` of the page before; 0 for the first page.
            limit: members at most, 1 or more.

        Raises:
            KeyShapeError: It is not a valid key.
            ValueError: ``after`` or ``limit`` is too small.
        """
        if after < 0 or limit < 1:
            raise ValueError(
                f"a page begins after 0 or more and has 1 member or more, not {after} and {limit}"
            )
        group = self._rules.members.group_of(key if type(key) is Key else as_key(key))
        states = list(group.states.values())
        begin = bisect_right(states, after, key=_BY_NUMBER)
        shown = states[begin : begin + limit]
        return Page(
            tuple([state.announced for state in shown]),
            len(states),
            group.version,
            shown[-1].number if begin + limit < len(states) else None,
        )

    def is_open(self, key: object, connection: object) -> bool:
        """Return whether a connection has arrived under a key, and has not departed."""
        state = self._rules.members.find(key if type(key) is Key else as_key(key))
        return state is not None and id(connection) in state.open

    def connections(self, key: object, tab: str | None = None) -> list[Any]:
        """Return the open connections of a member, or of one of its tabs, in order of arrival.

        They are those of this process: a fact of another one brings an id and no connection.
        """
        state = self._rules.members.find(key if type(key) is Key else as_key(key))
        if state is None:
            return []
        connections = self._rules.connections
        return [
            connections[ident]
            for ident, stream in state.open.items()
            if ident in connections and (tab is None or stream.tab == tab)
        ]

    def with_remaining(self, changes: Sequence[Change]) -> list[Change]:
        """Return the changes of one call with the members that remain after all departures.

        It copies all keys of a category, 0.13 ms with 20,000 members, so it is done only for
        changes that callbacks read.

        Args:
            changes: in order. A member that joins after a departure did not remain.
        """
        if all(change.kind != "left" for change in changes):
            return list(changes)
        now = self.timer()
        remaining: dict[tuple[Any, Any], tuple[Key, ...]] = {}
        listed = []
        for change in reversed(changes):
            address = (change.key.scope, change.key.inner[0])
            if address not in remaining:
                remaining[address] = self._remaining(change.key, now)
            if change.kind == "joined":
                remaining[address] = tuple(
                    other for other in remaining[address] if other != change.key
                )
            listed.append(
                change._replace(remaining=remaining[address]) if change.kind == "left" else change
            )
        return listed[::-1]

    def _remaining(self, key: Key, now: float) -> tuple[Key, ...]:
        """Return the members of a key's scope and category that are here."""
        group = self._rules.members.group_of(key).states
        first = self._rules.waits.first()
        if first is not None and first.ends <= now:
            # More waits have ended than one slice announces: those members have left, too.
            return tuple(other for other, state in group.items() if not state.is_over(now))
        return tuple(group)
