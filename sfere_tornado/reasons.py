"""Why a stream ended, and why a connection departed: the words, stated once."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

from .errors import nearest, with_suggestion

__all__ = (
    "DEPARTURE_REASONS",
    "REASONS",
    "RETURNING",
    "DepartureReason",
    "Reason",
    "check_departure_reason",
)

#: Why a stream ended. It is finer than a store's cause.
Reason: TypeAlias = Literal[
    "client", "timeout", "slow", "expired", "replaced", "revoked", "shutdown", "server", "error"
]
#: Why a connection departed: its client sent a leave, or its stream ended.
DepartureReason: TypeAlias = Literal["leave", Reason]

#: The words of :data:`Reason`.
REASONS: Final[frozenset[str]] = frozenset(get_args(Reason))

#: The words of :data:`DepartureReason`.
DEPARTURE_REASONS: Final[frozenset[str]] = frozenset(get_args(DepartureReason))

#: Reasons after which a client commonly comes back, also a client whose tab is hidden.
RETURNING: Final[frozenset[str]] = frozenset({"client", "slow", "error", "server", "timeout"})


def check_departure_reason(reason: str) -> None:
    """Check the reason of a departure.

    Raises:
        ValueError: The word is not one of :data:`DEPARTURE_REASONS`; the text names the nearest.
    """
    if reason not in DEPARTURE_REASONS:
        problem = f"a reason is one of {', '.join(sorted(DEPARTURE_REASONS))}, not {reason!r}"
        raise ValueError(with_suggestion(problem, nearest(reason, DEPARTURE_REASONS)))
