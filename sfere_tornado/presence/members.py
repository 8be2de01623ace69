"""The members, looked up by key and by pattern.

How it works. Members are grouped by scope and category, because most questions are about one
category: all members of one lobby. A pattern that binds both costs what it matches. Any other
pattern also costs one look at each group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..keys import ANY, Key, Pattern, as_pattern
from .states import MemberGroup, MemberState

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("Members",)


#: Stands for each scope and category without members; it is never changed.
_EMPTY = MemberGroup()


class Members:
    """The members, in order of joining."""

    __slots__ = ("_changes", "_groups", "_joined", "size")

    def __init__(self) -> None:
        #: How many members there are.
        self.size: int = 0
        # By scope and category. There are no empty groups.
        self._groups: dict[tuple[Any, Any], MemberGroup] = {}
        # How many have joined so far, and how many changes were announced.
        self._joined = self._changes = 0

    def __repr__(self) -> str:
        return f"<Members: {self.size} in {len(self._groups)} groups>"

    def find(self, key: Key) -> MemberState | None:
        """Return the member of a key, or None."""
        group = self._groups.get((key.scope, key.inner[0]))
        return None if group is None else group.states.get(key)

    def add(self, key: Key) -> MemberState:
        """Add a member under a key that has none."""
        self._joined += 1
        address = (key.scope, key.inner[0])
        group = self._groups.get(address)
        if group is None:
            group = self._groups[address] = MemberGroup()
        state = group.states[key] = MemberState(key, group, self._joined)
        self.size += 1
        return state

    def remove(self, state: MemberState) -> None:
        """Remove a member."""
        group = state.group
        del group.states[state.key]
        if not group.states:
            del self._groups[state.key.scope, state.key.inner[0]]
        self.size -= 1
        self._changes += 1
        group.version = self._changes

    def changed(self, state: MemberState) -> None:
        """Record that a change of a member was announced."""
        self._changes += 1
        state.group.version = self._changes

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
            states = self._groups.get(address, _EMPTY).states
            if item_id is ANY:
                yield from states.values()
            else:
                state = states.get(Key(address[0], (address[1], item_id)))
                if state is not None:
                    yield state

    def group_of(self, key: Key) -> MemberGroup:
        """Return the members of a key's scope and category; the caller must not change them."""
        return self._groups.get((key.scope, key.inner[0]), _EMPTY)
