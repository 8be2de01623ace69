"""The members, looked up by key and by pattern.

How it works. Members are grouped by scope and category, because most questions are about one
category: all members of one lobby. A pattern that binds both costs what it matches. Any other
pattern also costs one look at each group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..keys import ANY, Key, Pattern, as_pattern
from .states import MemberState

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("Members",)


class Members:
    """The members, in order of joining."""

    __slots__ = ("_groups", "size")

    def __init__(self) -> None:
        #: How many members there are.
        self.size: int = 0
        # By scope and category, then by key, in order of joining. There are no empty groups.
        self._groups: dict[tuple[Any, Any], dict[Key, MemberState]] = {}

    def __repr__(self) -> str:
        return f"<Members: {self.size} in {len(self._groups)} groups>"

    def find(self, key: Key) -> MemberState | None:
        """Return the member of a key, or None."""
        group = self._groups.get((key.scope, key.inner[0]))
        return None if group is None else group.get(key)

    def add(self, key: Key) -> MemberState:
        """Add a member under a key that has none."""
        state = MemberState(key)
        self._groups.setdefault((key.scope, key.inner[0]), {})[key] = state
        self.size += 1
        return state

    def remove(self, state: MemberState) -> None:
        """Remove a member."""
        address = (state.key.scope, state.key.inner[0])
        group = self._groups[address]
        del group[state.key]
        if not group:
            del self._groups[address]
        self.size -= 1

    def matching(self, pattern: object) -> Iterator[MemberState]:
        """Return the members whose key matches, group by group, in order of joining.

        Raises:
            KeyShapeError: It is not a valid pattern.
        """
        scope, (category, item_id) = pattern if type(pattern) is Pattern else as_pattern(pattern)
        if scope is not ANY and category is not ANY:
            addresses = [(scope, category)]
        else:
            addresses = [
                address
                for address in self._groups
                if (scope is ANY or scope == address[0])
                and (category is ANY or category == address[1])
            ]
        for address in addresses:
            group = self._groups.get(address, {})
            if item_id is ANY:
                yield from group.values()
            else:
                state = group.get(Key(address[0], (address[1], item_id)))
                if state is not None:
                    yield state

    def group_of(self, key: Key) -> dict[Key, MemberState]:
        """Return the members of a key's scope and category; the caller must not change the dict."""
        return self._groups.get((key.scope, key.inner[0]), {})
