"""Checks for the contract of stores, without ``assert``, which ``python -O`` removes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ...keys import ANY

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...stores import Removal, Store

__all__ = ("ANN", "BRIAN", "LOBBY", "StoreRules", "Recorded", "raises", "same", "record")

#: Two keys, and the pattern of both.
ANN: Final = ("default", ("lobby", "ann"))
BRIAN: Final = ("default", ("lobby", "brian"))
LOBBY: Final = (ANY, ("lobby", ANY))


class StoreRules:
    """Rules for a store; a subclass makes the store."""

    def make_store(self, **options: Any) -> Store[Any]:
        """Return a new, empty store.

        Args:
            options: any of ``same_key``, ``maxsize``, ``on_full``, ``categories`` and ``on_evict``,
                as the stores of this package take them.
        """
        raise NotImplementedError


class Recorded:
    """What the callbacks of a store were called with."""

    def __init__(self) -> None:
        self.removals: list[Removal[Any]] = []
        self.evictions: list[tuple[Any, Any, str]] = []


def record(store: Store[Any]) -> Recorded:
    """Have the callbacks of a store record what they are called with."""
    recorded = Recorded()
    store.on_removal = recorded.removals.append
    store.on_evict = lambda *call: recorded.evictions.append(call)
    return recorded


def same(actual: object, expected: object) -> None:
    """Fail unless a store said what the contract says."""
    if actual != expected:
        raise AssertionError(f"the store said {actual!r}; the contract says {expected!r}")


def raises(error: type[Exception], call: Callable[..., object], *arguments: object) -> Any:
    """Fail unless a call raises an error of a kind; returns the error."""
    try:
        actual = call(*arguments)
    except error as raised:
        return raised
    raise AssertionError(
        f"{arguments!r} was taken, with result {actual!r}; the contract says {error.__name__}"
    )
