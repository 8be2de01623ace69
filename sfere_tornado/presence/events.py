"""The events that tell members of each other: ``presence_state`` and ``presence_diff``.

::

    presence_state  {"now": 12.5, "part": 1, "parts": 1, "omitted": 0,
                     "members": {"ann": {"away": false, "metas": [...]}}}
    presence_diff   {"now": 13.0, "joins": {"brian": {"away": false, "metas": [...]}},
                     "leaves": {"phil": {"away": false, "metas": [...], "reason": "client"}}}

At part 1 of a state a client forgets all members, then it adds those of each part. Of a diff it
removes the leaves first, then adds the joins, each in place of what it knew. Ids are written as
text, so the ids of one scope and category must differ as text. A meta has ``tab``, ``device``,
``data``, ``away``, and ``since``, in seconds on the clock of ``now``.

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
    from . import Change, Member, Meta, Presence

    Texts: TypeAlias = dict[
        Key, tuple[tuple[Meta, ...], bool, str]
    ]  # of each member: metas, away, and the text of both

__all__ = ("MAX_STATE", "PART_SIZE", "PresenceEvents")

#: Bytes of one event of a state or diff, 32 KiB; the last member in it may go beyond. With the
#: largest member it is still less than one event may have by default.
PART_SIZE: Final = 32 * 1024

#: Bytes of a whole state, 512 KiB, half of an outbox: some thousand members. Of more members, a
#: newcomer is sent these and the number of the others: a client that is sent all of them is cut for
#: being slow, comes back, and is cut again.
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
        """Return the events that tell a newcomer who is here, each up to :data:`PART_SIZE`."""
        texts = self._texts
        if len(texts) > 2 * len(self._presence) + _STALE:
            texts.clear()
        pieces: list[list[str]] = [[]]
        size = total = shown = 0
        for member in members:
            text = self._text(member)
            total += len(text)
            if total > MAX_STATE:
                break
            if size > PART_SIZE:
                pieces.append([])
                size = 0
            pieces[-1].append(text)
            size += len(text)
            shown += 1
        rest = f'"parts":{len(pieces)},"omitted":{len(members) - shown}'
        return [
            self._event("presence_state", f'"members":{{{",".join(piece)}}},"part":{number},{rest}')
            for number, piece in enumerate(pieces, 1)
        ]

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
