"""The events that tell members of each other: ``presence_state``, ``_diff`` and ``_count``.

::

    presence_state  {"now": 12.5, "part": 1, "parts": 1, "omitted": 0,
                     "members": {"ann": {"away": false, "metas": [...]}}}
    presence_diff   {"now": 13.0, "joins": {"brian": {"away": false, "metas": [...]}},
                     "leaves": {"phil": {"away": false, "metas": [...], "reason": "client"}}}
    presence_count  {"now": 14.0, "count": 5000, "version": 7310}

At part 1 of a state a client forgets all members, then it adds those of each part. Of a diff it
removes the leaves first, then adds the joins, each in place of what it knew. Ids are written as
text, so the ids of one scope and category must differ as text. A meta has ``tab``, ``device``,
``data``, ``away``, and ``since``, in seconds on the clock of ``now``.

From a count on, the list of a client is not whole, until the next state: no diff follows. The state
of a newcomer to a large list has the first page and the newcomer itself; ``omitted`` is the number
of the others, ``next`` says where the next page begins, and a count follows it. A page has
``members``, ``count``, ``version`` and ``next``. It is true while the version stays: a client asks
for what it shows again after a count with a higher one, and drops a page with a lower one.

How it works. The text of a member is made once for each change of it, and kept: when N clients
arrive together, N states are sent, each of up to N members.
"""

from __future__ import annotations

from json import JSONEncoder
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..wire.event_stream import encode_fields
from . import diff

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..keys import Key
    from . import Change, Member, Meta, Page, Presence

    Texts: TypeAlias = dict[
        Key, tuple[tuple[Meta, ...], bool, str]
    ]  # of each member: metas, away, and the text of both

__all__ = ("MAX_STATE", "PART_SIZE", "PresenceEvents")

#: Bytes of one event of a state or diff, and of a page, 32 KiB; the last member in it may go beyond. With the
#: largest member it is still less than one event may have by default.
PART_SIZE: Final = 32 * 1024

#: Bytes of a whole state, 512 KiB, half of an outbox: some thousand members. A list that is longer
#: is sent in pages: a client that is sent all of it is cut for being slow, comes back, and is cut
#: again.
MAX_STATE: Final = 512 * 1024

#: Texts that are kept in addition to two for each member, 64: of members that left and were not
#: announced, as in a drain.
_STALE: Final = 64

# ASCII: characters are bytes then, and an id with a lone surrogate does not fail the event that
# lists all members.
_to_json = JSONEncoder(separators=(",", ":")).encode


class PresenceEvents:
    """Makes the events.

    Args:
        presence: whose members they are about. Times in events count from now, on its timer.
    """

    __slots__ = ("_began", "_presence", "_texts")

    def __init__(self, presence: Presence) -> None:
        self._presence = presence
        self._began = presence.timer()
        self._texts: Texts = {}

    def __repr__(self) -> str:
        return f"<PresenceEvents with {len(self._texts)} texts>"

    def state(self, members: Sequence[Member]) -> list[bytes]:
        """Return the events that tell a newcomer who is here, each up to :data:`PART_SIZE`.

        There are none when they would have more than :data:`MAX_STATE` bytes.
        """
        if len(self._texts) > _STALE:
            self._forget_stale()
        pieces: list[list[str]] = [[]]
        size = total = 0
        for member in members:
            text = self._text(member)
            total += len(text)
            if total > MAX_STATE:
                return []
            if size > PART_SIZE:
                pieces.append([])
                size = 0
            pieces[-1].append(text)
            size += len(text)
        rest = f'"parts":{len(pieces)},"omitted":0'
        return [
            self._event("presence_state", f'"members":{{{",".join(piece)}}},"part":{number},{rest}')
            for number, piece in enumerate(pieces, 1)
        ]

    def first_page(self, page: Page, own: Iterable[Member]) -> bytes:
        """Return the state for newcomers of a list that is too large to be sent.

        Args:
            page: the first one.
            own: the newcomers, who may be on it.
        """
        shown = {member.key: member for member in (*page.members, *own)}
        fields = f'"part":1,"parts":1,"omitted":{page.count - len(shown)},{_next_of(page)}'
        return self._event("presence_state", f"{self._members(shown.values())},{fields}")

    def count(self, page: Page) -> bytes:
        """Return the event that tells how many members a list has.

        Args:
            page: any of the list.
        """
        return self._event("presence_count", _count_of(page))

    def page(self, page: Page) -> str:
        """Return a page as JSON."""
        now = self._seconds(self._presence.timer())
        fields = f"{self._members(page.members)},{_count_of(page)},{_next_of(page)}"
        return f'{{"now":{now},{fields}}}'

    def size(self, members: Iterable[Member]) -> int:
        """Return the bytes of some members in an event."""
        return sum([len(self._text(member)) for member in members])

    def fitting(self, members: Iterable[Member]) -> int:
        """Return how many of the members, from the first on, a page may have; at least one."""
        size = number = 0
        for member in members:
            if size > PART_SIZE:
                break
            size += len(self._text(member))
            number += 1
        return number

    def diff(self, changes: Iterable[Change]) -> list[bytes]:
        """Return the events that tell the others of changes, leaves first."""
        step = diff(changes)
        for key in step.leaves:
            self._texts.pop(key, None)
        entries = [
            (0, self._entry(change, reason=change.reason)) for change in step.leaves.values()
        ]
        entries += [(1, self._text(change)) for change in step.joins.values()]
        events = []
        sides: tuple[list[str], list[str]] = ([], [])
        size = 0
        for side, text in entries:
            if size > PART_SIZE:
                events.append(self._diff(*sides))
                sides, size = ([], []), 0
            sides[side].append(text)
            size += len(text)
        return [*events, self._diff(*sides)] if entries else []

    def _members(self, members: Iterable[Member]) -> str:
        if len(self._texts) > _STALE:
            self._forget_stale()
        return f'"members":{{{",".join([self._text(member) for member in members])}}}'

    def _forget_stale(self) -> None:
        if len(self._texts) > 2 * len(self._presence) + _STALE:
            self._texts.clear()

    def _diff(self, leaves: list[str], joins: list[str]) -> bytes:
        return self._event(
            "presence_diff", f'"joins":{{{",".join(joins)}}},"leaves":{{{",".join(leaves)}}}'
        )

    def _event(self, name: str, fields: str) -> bytes:
        now = self._seconds(self._presence.timer())
        return encode_fields(f'{{"now":{now},{fields}}}', name, None, None)

    def _text(self, of: Member | Change) -> str:
        kept = self._texts.get(of.key)
        # The same object: a change and the announced member share their metas.
        if kept is not None and kept[0] is of.metas and kept[1] is of.away:
            return kept[2]
        text = self._entry(of)
        self._texts[of.key] = (of.metas, of.away, text)
        return text

    def _entry(self, of: Member | Change, **more: Any) -> str:
        metas = [{**meta._asdict(), "since": self._seconds(meta.since)} for meta in of.metas]
        fields = {"away": of.away, "metas": metas, **more}
        return f"{_to_json(str(of.key.inner[1]))}:{_to_json(fields)}"

    def _seconds(self, time: float) -> float:
        return round(time - self._began, 3)


def _count_of(page: Page) -> str:
    return f'"count":{page.count},"version":{page.version}'


def _next_of(page: Page) -> str:
    return f'"next":{"null" if page.next is None else page.next}'
