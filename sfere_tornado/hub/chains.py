"""Interceptor chains, kept ready for each combination of a handler's class and its route."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..dispatch import Chain, Dispatcher

__all__ = ("MAX_CHAINS", "Chains")

#: Chains kept ready. An application has a few dozen. One that makes interceptors for each request
#: must not fill the memory with them.
MAX_CHAINS: Final = 1024


class Chains:
    """Makes each chain once.

    Args:
        dispatcher: its interceptors are the outermost.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._made: dict[tuple[int, ...], tuple[tuple[Mapping[str, Any], ...], Chain]] = {}

    def __len__(self) -> int:
        return len(self._made)

    def get(self, interceptors: Sequence[Mapping[str, Any]]) -> Chain:
        """Return the chain of the dispatcher's interceptors and these, outermost first."""
        key = tuple(map(id, interceptors))
        made = self._made.get(key)
        if made is None:
            # The interceptors are kept with the chain, so no other object can have their ids.
            made = (tuple(interceptors), self._dispatcher.chain(*interceptors))
            if len(self._made) < MAX_CHAINS:
                self._made[key] = made
        return made[1]
