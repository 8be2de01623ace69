"""What every store of connections promises, and the words it is configured with.

A store keeps open connections under keys. Several connections may have one key (two tabs of one
user), and one connection may have several keys. Here is the contract. How it is kept is in
:mod:`.store`, when a lease ends in :mod:`.leases`. The hub closes the streams of what leaves.

Laws:

- **A connection is itself.** It is looked up and compared by identity, never by equality, so the
  late close of a replaced connection cannot remove its successor.
- **Looking renews nothing.** Only :meth:`Store.get` (the client asked) and :meth:`Store.renew` (the
  client's side answered) are signs of life. Broadcasts and listings are the server's own doing.
- **Callbacks come after the change.** When a callback runs, the entries have left or entered, so
  ``store.keys()`` in it lists exactly what remains. A callback may use the store as it likes: what
  it causes is called after what waits already (:mod:`sfere_tornado.callbacks`).
- **on_put and on_removal are about connections, on_evict about keys.** ``on_put(key, connection)``
  is called for each new entry, ``on_removal(removal)`` for each that leaves. After the latter,
  ``on_evict(key, connection, cause)`` is called when a key lost its last connection, so that two
  tabs of one user are one departure, and for every replaced connection.
- **One order for all callbacks**: that of the changes. A newcomer enters before what it replaces or
  evicts leaves, so its ``on_put`` comes first; entries past their lease leave before it enters. The
  ``on_put`` of an entry always comes before its ``on_removal``.
- **One thread.** A store is used from the thread of its event loop. Its callbacks close streams,
  which no other thread may.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
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

from ..config import CategoryRules
from ..errors import nearest, with_suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..keys import Key

__all__ = (
    "MAX_KEYS_PER_CONNECTION",
    "CategoryRules",
    "Cause",
    "Removal",
    "Store",
    "check_categories",
    "one_of",
)

#: Keys that one connection may be stored under: far more than the places a client is in, and few
#: enough that its departure, which removes them all, does not delay other connections.
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


def check_categories(
    categories: Mapping[Any, CategoryRules] | None,
) -> Mapping[Any, CategoryRules]:
    """Return the rules of categories, none for None.

    Raises:
        ValueError: when the rules of one are not :class:`CategoryRules`.
    """
    for category, rules in (categories or {}).items():
        if not isinstance(rules, CategoryRules):
            raise ValueError(  # noqa: TRY004  # a setting, like the others
                f"the rules of category {category!r} are CategoryRules(...), not {rules!r}"
            )
    return categories or {}


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

    The lists that calls return have what the call itself removed. The callbacks are called for all
    that leaves, whatever the cause and the call.
    """

    #: Called with key and connection for every new entry; not when a connection is stored again
    #: under a key it has.
    on_put: Callable[[Key, C], object] | None = None
    #: Called once for every :class:`Removal`, before ``on_evict``.
    on_removal: Callable[[Removal[C]], object] | None = None
    #: Called with key, connection and cause when a key lost its last connection, and for every
    #: replaced connection.
    on_evict: Callable[[Key, C, Cause], object] | None = None

    @abstractmethod
    def put(self, key: object, connection: C) -> list[Removal[C]]:
        """Store a connection under a key.

        Args:
            key: ``(scope, (category, id))``.
            connection: any object but None; storing it again under the same key only gives it a
                fresh sliding lease.

        Returns:
            What had to leave for it: replaced connections of the same key, or the longest idle
            entry of a full store.

        Raises:
            KeyShapeError: when it is not a valid key.
            KeyTakenError: when the key has a connection and ``same_key`` is ``refuse``; nothing has
                changed.
            StoreFullError: when the store is full and ``on_full`` is ``refuse``; nothing has
                changed.
            StoreError: when the connection is None, or already has
                :data:`MAX_KEYS_PER_CONNECTION` keys.
        """

    @abstractmethod
    def leaving(self, key: object, newcomer: object) -> list[C]:
        """Return the connections of a key that storing a newcomer there would replace.

        Limits ask this, so that a connection that takes the place of another is not counted as one
        more.

        Args:
            key: ``(scope, (category, id))``.
            newcomer: the connection that would be stored. One that has the key replaces nothing.

        Returns:
            The connections, oldest first; none when the key's ``same_key`` is not ``replace``.
        """

    @abstractmethod
    def get(self, key: object) -> tuple[C, ...]:
        """Return the connections of a key because its client asked.

        That is a sign of life and renews their leases.
        """

    @abstractmethod
    def peek(self, key: object) -> tuple[C, ...]:
        """Return the connections of a key without renewing them."""

    @abstractmethod
    def renew(self, connection: object) -> bool:
        """Record that a connection itself gave a sign of life; return whether it is stored.

        Args:
            connection: renewed under all its keys; one that is not stored is harmless.
        """

    @abstractmethod
    def purge(self, key: object) -> list[Removal[C]]:
        """Remove all connections of a key, cause ``explicit``; a key without any is harmless."""

    @abstractmethod
    def purge_connection(self, connection: object) -> list[Removal[C]]:
        """Remove a connection from all its keys, cause ``explicit``.

        One that is not stored, or None, is harmless.
        """

    @abstractmethod
    def clear(self) -> list[Removal[C]]:
        """Remove everything, cause ``explicit``."""

    @abstractmethod
    def keys(self, pattern: object | None = None) -> list[Key]:
        """Return the keys with a connection that match a pattern, or all.

        They come in the order in which they got their first connection.
        """

    @abstractmethod
    def keys_of(self, connection: object) -> tuple[Key, ...]:
        """Return the keys that a connection is stored under, oldest first."""

    @abstractmethod
    def connections(self, pattern: object, exclude: object = ()) -> list[C]:
        """Return the connections whose key matches, each once, in the order of their storing.

        Args:
            pattern: ``(scope, (category, id))`` with ANY in any place.
            exclude: what is left out: keys or one pattern; see
                :func:`~sfere_tornado.keys.as_exclusion`. A connection is left out when **any** of
                its keys is excluded, also one that the pattern does not match: a client that is
                excluded under one name does not get the event under another.

        Raises:
            KeyShapeError: when either has another shape.
        """

    @abstractmethod
    def count(self, pattern: object | None = None) -> int:
        """Return how many connections match a pattern, or are stored at all, each counted once."""

    @abstractmethod
    def expire(self) -> list[Removal[C]]:
        """Remove what is past its lease, cause ``expired``.

        One call may leave some of it; :meth:`next_expiry` then says "now".
        """

    @abstractmethod
    def next_expiry(self) -> float | None:
        """Return the time at which :meth:`expire` should be called next; None for never.

        The time is on the store's own timer.
        """

    @abstractmethod
    def __len__(self) -> int:
        """Return what ``maxsize`` bounds; a connection under two keys counts twice."""

    @abstractmethod
    def __contains__(self, key: object) -> bool:
        """Tell whether a key has a connection."""
