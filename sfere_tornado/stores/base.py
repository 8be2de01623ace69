"""What every store of connections promises, and the words it is configured with.

A store keeps open connections under keys: several connections may live under one key (two tabs of one user), and one
connection under several keys. What is here: the contract. What is not: how it is kept (:mod:`.memory`), when a lease
ends (:mod:`.expiring`), and what happens to an evicted stream (the hub listens to ``on_removal`` and closes it).

Laws:

- **A connection is itself.** It is found and compared by identity, never by equality, so the late close of a replaced
  connection cannot remove its successor.
- **Looking renews nothing.** Only :meth:`Store.get` (the client asked) and :meth:`Store.renew` (the client's side
  answered) are signs of life. Broadcasts and listings are the server's own doing.
- **First gone, then told.** Callbacks are called after the entries have left, so ``store.keys()`` in one is exactly
  who remains. They may use the store as they like: what they cause waits its turn (:mod:`.turn`).
- **on_evict is about keys, on_removal about connections.** ``on_removal(removal)`` is called for everything that
  leaves; after it ``on_evict(key, connection, cause)`` is called when a key has let go of its last connection, so that
  two tabs of one user are one departure, and for every replaced connection.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    Literal,
    NamedTuple,
    TypeAlias,
    TypeVar,
    get_args,
)

from ..errors import nearest, with_suggestion

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..defaults import Expiry, SameKey
    from ..keys import Key

__all__ = (
    "MAX_KEYS_PER_CONNECTION",
    "CategoryRules",
    "Cause",
    "Removal",
    "Store",
    "one_of",
)

#: Keys that one connection may be stored under: far more than the places a client is in at once, and few enough that
#: its departure, which removes them all, never holds the others up.
MAX_KEYS_PER_CONNECTION: Final = 64

Cause: TypeAlias = Literal["explicit", "expired", "replaced", "size"]

C = TypeVar("C")


class Removal(NamedTuple, Generic[C]):
    """One connection that left a key."""

    key: Key
    connection: C
    cause: Cause
    #: Connections still stored under that key after this removal.
    remaining: int


@dataclass(frozen=True, slots=True)
class CategoryRules:
    """What is different for the keys of one category; None is as the store has it.

    Args:
        ttl: seconds a lease lasts, in an expiring store.
        expiry: ``sliding`` or ``fixed``, in an expiring store.
        same_key: what a second connection under a held key does.
    """

    ttl: float | None = None
    expiry: Expiry | None = None
    same_key: SameKey | None = None


def one_of(value: object, words: Any, what: str) -> Any:
    """Return ``value`` when it is one of a setting's words.

    Args:
        value: what was given.
        words: the type alias that lists the words, or the words themselves.
        what: the setting's name.

    Raises:
        ValueError: otherwise; the text names the words and the nearest one.
    """
    known: tuple[str, ...] = words if isinstance(words, tuple) else get_args(words)
    if value in known:
        return value
    problem = f"{what} is one of {', '.join(known)}, not {value!r}"
    raise ValueError(with_suggestion(problem, nearest(value, known)))


class Store(ABC, Generic[C]):
    """Open connections by key.

    The lists that calls return hold what the call itself removed. Whatever leaves, for whatever cause and by whatever
    call, is told to the callbacks.
    """

    #: Called once for every :class:`Removal`, before ``on_evict``.
    on_removal: Callable[[Removal[C]], object] | None
    #: Called with key, connection and cause when a key lost its last connection, and for every replaced connection.
    on_evict: Callable[[Key, C, Cause], object] | None

    @abstractmethod
    def put(self, key: object, connection: C) -> list[Removal[C]]:
        """Store a connection under a key.

        Args:
            key: ``(scope, (category, id))``.
            connection: any object but None; storing it again under the same key only gives it a fresh sliding lease.

        Returns:
            What had to leave for it: replaced connections of the same key, or the longest idle one of a full store.

        Raises:
            KeyShapeError: when it is no key.
            KeyTakenError: when the key is held and ``same_key`` is ``refuse``; nothing has changed.
            StoreFullError: when the store is full and ``on_full`` is ``refuse``; nothing has changed.
            StoreError: when the connection is None, or has :data:`MAX_KEYS_PER_CONNECTION` keys already.
        """

    @abstractmethod
    def get(self, key: object) -> tuple[C, ...]:
        """Return the connections of a key because its client asked: a sign of life, which renews their leases."""

    @abstractmethod
    def peek(self, key: object) -> tuple[C, ...]:
        """Return the connections of a key without renewing anything."""

    @abstractmethod
    def renew(self, connection: object) -> bool:
        """Take note that a connection itself gave a sign of life; returns whether it is stored.

        Args:
            connection: renewed under all its keys; one that is not stored is harmless.
        """

    @abstractmethod
    def purge(self, key: object) -> list[Removal[C]]:
        """Remove all connections of a key, cause ``explicit``; a key that nobody holds is harmless."""

    @abstractmethod
    def purge_connection(self, connection: object) -> list[Removal[C]]:
        """Remove a connection from all its keys, cause ``explicit``; one that is not stored, or None, is harmless."""

    @abstractmethod
    def clear(self) -> list[Removal[C]]:
        """Remove everything, cause ``explicit``."""

    @abstractmethod
    def keys(self, pattern: object | None = None) -> list[Key]:
        """Return the held keys that match a pattern, or all, in the order in which they came to be held."""

    @abstractmethod
    def keys_of(self, connection: object) -> tuple[Key, ...]:
        """Return the keys that a connection is stored under, oldest first."""

    @abstractmethod
    def connections(self, pattern: object, exclude: object = ()) -> list[C]:
        """Return the connections whose key matches, each once, in the order in which they were first stored.

        Args:
            pattern: ``(scope, (category, id))`` with ANY in any place.
            exclude: keys (a set, frozenset, list or tuple of them), or one :class:`~sfere_tornado.keys.Pattern` or
                :class:`~sfere_tornado.keys.Key`. A connection is left out when **any** of its keys is excluded, also
                one that the pattern does not match: who is excluded as one thing does not hear it as another.

        Raises:
            KeyShapeError: when either has another shape.
        """

    @abstractmethod
    def count(self, pattern: object | None = None) -> int:
        """Return how many connections match a pattern, or are stored at all, each counted once."""

    @abstractmethod
    def expire(self) -> list[Removal[C]]:
        """Remove what is past its lease, cause ``expired``, perhaps only a part of it: see :meth:`next_expiry`."""

    @abstractmethod
    def next_expiry(self) -> float | None:
        """Return the time, on the store's timer, at which :meth:`expire` should be called next; None for never."""

    @abstractmethod
    def __len__(self) -> int:
        """Return what ``maxsize`` bounds: connections under keys, one under two keys counted twice."""

    @abstractmethod
    def __contains__(self, key: object) -> bool:
        """Tell whether a key holds a connection."""
