"""What a second connection under a key does: join, replace or be refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..defaults import SameKey
from .base import CategoryRules, check_categories, one_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("SameKeyRules",)


class SameKeyRules:
    """The rule of each category; the only code that compares the words of ``same_key``.

    Args:
        default: the rule of categories without one of their own.
        categories: what is different for single categories.

    Raises:
        ValueError: for another word.
    """

    __slots__ = ("_categories", "default")

    def __init__(self, default: SameKey, categories: Mapping[Any, CategoryRules] | None) -> None:
        self.default: SameKey = one_of(default, SameKey, "same_key")
        self._categories: dict[Any, SameKey] = {
            category: rules.same_key
            for category, rules in check_categories(categories).items()
            if rules.same_key is not None
        }

    def __repr__(self) -> str:
        return f"<SameKeyRules: {self.default}, {len(self._categories)} categories differ>"

    def of(self, category: object) -> SameKey:
        """Return the rule of a category."""
        return self._categories.get(category, self.default)

    def replaces(self, category: object) -> bool:
        """Tell whether a newcomer takes the place of the connections under its key."""
        return self.of(category) == "replace"

    def refuses(self, category: object) -> bool:
        """Tell whether a newcomer is refused while its key has a connection."""
        return self.of(category) == "refuse"
