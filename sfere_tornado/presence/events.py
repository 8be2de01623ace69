"""What members are told of each other, as events: ``presence_state`` and ``presence_diff``.

::

    presence_state  {"now": 12.5, "members": {"ann": {"away": false, "metas": [...]}}, "part": 1, "parts": 1, "omitted": 0}
    presence_diff   {"now": 13.0, "joins": {"brian": {...}}, "leaves": {"phil": {"away": false, "metas": [...], "reason": "client"}}}

A client forgets all at part 1 of a state, and puts members in; of a diff it takes the leaves out first, then puts the
joins in, each in the place of what it knew. Ids are written as text, so within one scope and category they must differ as
text. A meta has ``tab``, ``device``, ``data``, ``away``, and ``since``, in seconds on the clock of ``now``.

How it works. A member's text is made once for each change of it, and kept: a crowd that arrives at once is sent as many
states as it has heads, each of all of them.
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

#: Bytes of one event of a state or diff, 32 KiB, one member more not counted: with the largest there is, it is still less
#: than an event may have by default.
PART_SIZE: Final = 32 * 1024

#: Bytes of a whole state, 512 KiB, half of an outbox: some thousand members. A newcomer to a larger crowd is told how
#: many were left out; sent all of them, it would be cut for being slow, come back, and be cut again.
MAX_STATE: Final = 512 * 1024

#: Texts, beyond two for each member, that are kept: of those who left and were not announced, as in a drain.
_STALE: Final = 64

# ASCII: characters are bytes then, and an id with half of a surrogate pair does not silence a whole room.
_to_json = JSONEncoder(separators=(",", ":")).encode


class PresenceEvents:
    """Makes the events.

    Args:
        room: whose members they are about; its clock is told from now on, as 0.
    """

    __slots__ = ("_began", "_room", "_texts")

    def __init__(self, room: Presence) -> None:
        self._room = room
        self._began = room.timer()
        self._texts: Texts = {}

    def __repr__(self) -> str:
        return f"<PresenceEvents with {len(self._texts)} texts>"

    def state(self, members: Sequence[Member]) -> list[bytes]:
        """Return the events that tell a newcomer who is here, as many as it takes."""
        texts = self._texts
        if len(texts) > 2 * len(self._room) + _STALE:
            texts.clear()
        parts: list[list[str]] = [[]]
        size = total = shown = 0
        for member in members:
            text = self._text(member)
            total += len(text)
            if total > MAX_STATE:
                break
            if size > PART_SIZE:
                parts.append([])
                size = 0
            parts[-1].append(text)
            size += len(text)
            shown += 1
        rest = f'"parts":{len(parts)},"omitted":{len(members) - shown}'
        return [
            self._event("presence_state", f'"members":{{{",".join(part)}}},"part":{number},{rest}')
            for number, part in enumerate(parts, 1)
        ]

    def diff(self, changes: Iterable[Change]) -> list[bytes]:
        """Return the events that tell the others of changes, as many as it takes, leaves first."""
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
        now = self._seconds(self._room.timer())
        return encode_fields(f'{{"now":{now},{fields}}}', name, None, None)

    def _text(self, of: Member | Change) -> str:
        kept = self._texts.get(of.key)
        # The very same metas: those of a change are also those that the room says were announced.
        if kept is not None and kept[0] is of.metas and kept[1] is of.away:
            return kept[2]
        text = self._entry(of)
        self._texts[of.key] = (of.metas, of.away, text)
        return text

    def _entry(self, of: Member | Change, **more: Any) -> str:
        metas = [{**meta._asdict(), "since": self._seconds(meta.since)} for meta in of.metas]
        return f"{_to_json(str(of.key.inner[1]))}:{_to_json({'away': of.away, 'metas': metas, **more})}"

    def _seconds(self, time: float) -> float:
        return round(time - self._began, 3)
