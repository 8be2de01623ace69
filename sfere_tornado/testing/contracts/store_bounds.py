"""The rules of a store's contract about its bounds."""

from __future__ import annotations

from ...errors import StoreError, StoreFullError
from ...stores import MAX_KEYS_PER_CONNECTION
from .store_rules import ANN, BRIAN, LOBBY, StoreRules, raises, record, same

__all__ = ("BoundRules",)


class BoundRules(StoreRules):
    """What a full store does, and how many keys a connection may have."""

    def test_a_full_store_refuses_a_newcomer(self) -> None:
        """At ``maxsize`` a put raises and changes nothing; after a purge it succeeds."""
        store = self.make_store(maxsize=2)
        recorded = record(store)
        ann = object()
        store.put(ANN, ann)
        store.put(BRIAN, ann)
        error = raises(StoreFullError, store.put, ("default", ("lobby", "chris")), object())
        same((error.maxsize, store.keys(), recorded.removals), (2, [ANN, BRIAN], []))
        store.purge(ANN)
        store.put(ANN, object())

    def test_a_full_store_may_evict_the_longest_idle(self) -> None:
        """With ``evict`` the connection longest without get or renew leaves, cause ``size``."""
        store, people = self.make_store(maxsize=3, on_full="evict"), [object() for _ in range(6)]
        recorded = record(store)
        keys = [("default", ("lobby", number)) for number in range(6)]
        for number in range(3):
            store.put(keys[number], people[number])
        store.get(keys[0])
        store.renew(people[1])
        store.peek(keys[2])
        store.connections(LOBBY)
        same(store.put(keys[3], people[3]), [(keys[2], people[2], "size", 0)])
        store.put(keys[0], people[0])
        same(store.put(keys[4], people[4]), [(keys[1], people[1], "size", 0)])
        same(store.put(keys[5], people[5]), [(keys[3], people[3], "size", 0)])
        same((len(store), [cause for _, _, cause in recorded.evictions]), (3, ["size"] * 3))

    def test_an_eviction_for_a_newcomer_of_the_same_key_is_no_departure(self) -> None:
        """When the evicted one's key is the newcomer's, the key has not let go."""
        store, first, second = self.make_store(maxsize=1, on_full="evict"), object(), object()
        recorded = record(store)
        store.put(ANN, first)
        same(store.put(ANN, second), [(ANN, first, "size", 1)])
        same((recorded.evictions, len(recorded.removals)), ([], 1))

    def test_keys_of_one_connection_are_bounded(self) -> None:
        """A connection beyond its number of keys is refused, until one is purged."""
        store, ann = self.make_store(), object()
        keys = [("default", ("lobby", number)) for number in range(MAX_KEYS_PER_CONNECTION + 1)]
        for key in keys[:-1]:
            store.put(key, ann)
        error = raises(StoreError, store.put, keys[-1], ann)
        same((error.key, len(store)), (keys[-1], MAX_KEYS_PER_CONNECTION))
        store.purge(keys[0])
        store.put(keys[-1], ann)
        same(len(store.purge_connection(ann)), MAX_KEYS_PER_CONNECTION)
