"""Members by key and by pattern: what the room looks up.

How it works. Members are grouped by scope and category, for that is how they are asked for: everybody in one lobby. A
pattern that binds both costs what it matches; another one, a look at each group besides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..keys import ANY, Key, Pattern, as_pattern
from .states import MemberState

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("Roll",)


class Roll:
    """The members of a room."""

    __slots__ = ("_groups", "size")

    def __init__(self) -> None:
        #: How many there are.
        self.size: int = 0
        # By scope and category, then by key, in order of joining.
        self._groups: dict[tuple[Any, Any], dict[Key, MemberState]] = {}

    def __repr__(self) -> str:
        return f"<Roll of {self.size} members in {len(self._groups)} groups>"

    def find(self, key: Key) -> MemberState | None:
        """Return the member of a key, if there is one."""
        group = self._groups.get((key.scope, key.inner[0]))
        return None if group is None else group.get(key)

    def enter(self, key: Key) -> MemberState:
        """Add a member under a key that has none."""
        state = MemberState(key)
        self._groups.setdefault((key.scope, key.inner[0]), {})[key] = state
        self.size += 1
        return state

    def remove(self, state: MemberState) -> None:
        """Remove a member."""
        place = (state.key.scope, state.key.inner[0])
        group = self._groups[place]
        del group[state.key]
        if not group:
            del self._groups[place]
        self.size -= 1

    def matching(self, pattern: object) -> Iterator[MemberState]:
        """Return the members whose key matches, group by group, in order of joining.

        Raises:
            KeyShapeError: when it is no pattern.
        """
        scope, (category, item_id) = pattern if type(pattern) is Pattern else as_pattern(pattern)
        if scope is not ANY and category is not ANY:
            places = [(scope, category)]
        else:
            places = [
                place
                for place in self._groups
                if (scope is ANY or scope == place[0]) and (category is ANY or category == place[1])
            ]
        for place in places:
            group = self._groups.get(place, {})
            if item_id is ANY:
                yield from group.values()
            else:
                state = group.get(Key(place[0], (place[1], item_id)))
                if state is not None:
                    yield state

    def beside(self, key: Key) -> dict[Key, MemberState]:
        """Return the members of a key's scope and category; the caller must not change the dict."""
        return self._groups.get((key.scope, key.inner[0]), {})
