"""What every store must do, as tests: subclass :class:`StoreContract` and give it a store.

::

    class TestMyStore(StoreContract):
        def make_store(self, **options):
            return MyStore(**options)

The tests use plain objects as connections, and a store whose leases, if it has any, do not end
while they run. They need no pytest.
"""

from __future__ import annotations

from ...errors import KeyShapeError, KeyTakenError, StoreError, StoreFullError
from ...keys import ANY, Key
from ...stores import MAX_KEYS_PER_CONNECTION, CategoryRules
from .store_callbacks import CallbackRules
from .store_patterns import PatternRules
from .store_rules import ANN, BRIAN, LOBBY, raises, record, same

__all__ = ("StoreContract",)


class _Alike:
    """A connection that claims to be equal to every other, and has no hash."""

    __hash__ = None  # type: ignore[assignment]  # the point of the class

    def __eq__(self, other: object) -> bool:
        return True


class StoreContract(PatternRules, CallbackRules):
    """The contract of :class:`~sfere_tornado.stores.Store`: each method is one rule.

    Patterns are in :mod:`.store_patterns`, callbacks in :mod:`.store_callbacks`.
    """

    # -- storing and finding

    def test_an_empty_store_has_nothing(self) -> None:
        """An empty store lists, counts and finds nothing."""
        store = self.make_store()
        same(
            [store.keys(), store.keys(LOBBY), store.connections((ANY, ANY)), store.expire()],
            [[], [], [], []],
        )
        same((len(store), store.count(), store.count(LOBBY), ANN in store), (0, 0, 0, False))
        same((store.get(ANN), store.peek(ANN)), ((), ()))

    def test_what_was_put_is_found(self) -> None:
        """A stored connection is found by key, by identity and by a matching pattern."""
        store, ann = self.make_store(), object()
        same(store.put(ANN, ann), [])
        same((store.get(ANN), store.peek(ANN), ANN in store), ((ann,), (ann,), True))
        same((store.keys_of(ann), store.keys(), store.connections(LOBBY)), ((ANN,), [ANN], [ann]))
        same(
            (store.count(), store.count(LOBBY), store.count(("other", ANY)), len(store)),
            (1, 1, 0, 1),
        )

    def test_keys_come_back_as_keys(self) -> None:
        """A key given as a list is a Key when it is listed."""
        store = self.make_store()
        store.put(["default", ["lobby", "ann"]], object())
        found = store.keys()
        same([type(key) for key in found], [Key])
        same(found[0].id, "ann")

    def test_a_key_is_complete(self) -> None:
        """Nothing is stored or looked up under a pattern, under None, or under another shape."""
        store = self.make_store()
        for wrong in (
            LOBBY,
            ("default", ("lobby", None)),
            "default/lobby/ann",
            ("default", "lobby"),
            None,
        ):
            for call in (store.get, store.peek, store.purge, store.__contains__):
                raises(KeyShapeError, call, wrong)
            raises(KeyShapeError, store.put, wrong, object())
        raises(KeyShapeError, store.keys, "lobby")
        raises(KeyShapeError, store.connections, ("lobby", ANY, ANY))
        raises(KeyShapeError, store.count, 7)
        same(len(store), 0)

    def test_none_is_no_connection(self) -> None:
        """A forgotten connection is refused instead of being stored as None."""
        store = self.make_store()
        raises(StoreError, store.put, ANN, None)
        same((len(store), store.purge_connection(None), store.renew(None)), (0, [], False))

    def test_connections_are_told_apart_by_identity(self) -> None:
        """Two connections that are equal, and cannot be hashed, are two."""
        store, first, second = self.make_store(), _Alike(), _Alike()
        same(first == second, True)
        store.put(ANN, first)
        store.put(BRIAN, second)
        same([id(each) for each in store.connections(LOBBY)], [id(first), id(second)])
        same([removal.key for removal in store.purge_connection(second)], [BRIAN])
        same([id(each) for each in store.connections(LOBBY)], [id(first)])

    def test_results_are_in_order_of_storing(self) -> None:
        """Keys and connections come in the order of storing, also after removals."""
        store, connections = self.make_store(), [object() for _ in range(50)]
        keys = [("default", ("lobby", number)) for number in range(50)]
        for key, connection in zip(keys, connections, strict=True):
            store.put(key, connection)
        for key in keys[5:45]:
            store.purge(key)
        store.put(keys[20], connections[20])
        same(store.keys(LOBBY), [*keys[:5], *keys[45:], keys[20]])
        same(store.connections(LOBBY), [*connections[:5], *connections[45:], connections[20]])

    def test_a_key_keeps_its_place_while_it_is_held(self) -> None:
        """A key keeps its place in the order, also when another connection has it now."""
        store, first, second, other = self.make_store(), object(), object(), object()
        store.put(ANN, first)
        store.put(BRIAN, other)
        store.put(ANN, second)
        store.purge_connection(first)
        same(store.keys(), [ANN, BRIAN])
        same(store.connections(LOBBY), [other, second])

    # -- leaving

    def test_purging_a_key_removes_all_its_connections(self) -> None:
        """A removal says how many connections the key still has; a second purge finds none."""
        store, tabs = self.make_store(), [object(), object(), object()]
        for tab in tabs:
            store.put(ANN, tab)
        same(
            store.purge(ANN),
            [
                (ANN, tab, "explicit", remaining)
                for tab, remaining in zip(tabs, (2, 1, 0), strict=True)
            ],
        )
        same((store.purge(ANN), ANN in store, len(store)), ([], False, 0))

    def test_purging_a_connection_removes_all_its_keys(self) -> None:
        """The connection of a closing stream leaves every key it has; no other leaves."""
        store, ann, brian = self.make_store(), object(), object()
        store.put(ANN, ann)
        store.put(BRIAN, brian)
        store.put(BRIAN, ann)
        same(store.purge_connection(ann), [(ANN, ann, "explicit", 0), (BRIAN, ann, "explicit", 1)])
        same((store.purge_connection(ann), store.connections((ANY, ANY))), ([], [brian]))

    def test_an_unknown_connection_is_harmless(self) -> None:
        """Purging or renewing a connection that is not stored does nothing."""
        store = self.make_store()
        store.put(ANN, object())
        same(
            (store.purge_connection(object()), store.renew(object()), store.keys_of(object())),
            ([], False, ()),
        )
        same(len(store), 1)

    def test_renewing_says_whether_the_connection_is_stored(self) -> None:
        """A stored connection can give a sign of life."""
        store, ann = self.make_store(), object()
        store.put(ANN, ann)
        same(store.renew(ann), True)

    def test_clearing_removes_everything(self) -> None:
        """All connections leave, with a callback each, and the store takes new ones."""
        store, ann, brian = self.make_store(), object(), object()
        recorded = record(store)
        for key, connection in ((ANN, ann), (ANN, brian), (BRIAN, ann)):
            store.put(key, connection)
        same(len(store.clear()), 3)
        same(
            (len(store), store.keys(), len(recorded.removals), len(recorded.evictions)),
            (0, [], 3, 2),
        )
        store.put(ANN, ann)
        same(store.peek(ANN), (ann,))

    # -- the same key

    def test_joined_connections_are_all_reached(self) -> None:
        """By default several connections share a key; it is gone with the last of them."""
        store, first, second = self.make_store(), object(), object()
        store.put(ANN, first)
        same(store.put(ANN, second), [])
        same(
            (store.get(ANN), store.connections(LOBBY), store.count()),
            ((first, second), [first, second], 2),
        )
        same(store.keys(), [ANN])
        same(store.purge_connection(first), [(ANN, first, "explicit", 1)])
        same((ANN in store, store.get(ANN)), (True, (second,)))
        same(store.purge_connection(second), [(ANN, second, "explicit", 0)])
        same(ANN in store, False)

    def test_the_same_connection_again_changes_nothing(self) -> None:
        """Storing a connection under its own key removes nothing and calls no callback."""
        for same_key in ("join", "replace", "refuse"):
            store, ann = self.make_store(same_key=same_key, maxsize=1), object()
            recorded = record(store)
            store.put(ANN, ann)
            same((store.put(ANN, ann), store.get(ANN), len(store)), ([], (ann,), 1))
            same((recorded.removals, recorded.evictions), ([], []))

    def test_the_newest_replaces_the_others(self) -> None:
        """With ``replace`` the old connection leaves, cause ``replaced``; the key stays."""
        store, old, new = self.make_store(same_key="replace"), object(), object()
        recorded = record(store)
        store.put(ANN, old)
        same(store.put(ANN, new), [(ANN, old, "replaced", 1)])
        same(store.get(ANN), (new,))
        same(recorded.evictions, [(ANN, old, "replaced")])

    def test_a_late_close_of_a_replaced_connection_is_harmless(self) -> None:
        """The successor stays when the connection that it replaced closes afterwards."""
        store, old, new = self.make_store(same_key="replace"), object(), object()
        store.put(ANN, old)
        store.put(ANN, new)
        same((store.purge_connection(old), store.get(ANN)), ([], (new,)))

    def test_replacing_needs_no_room(self) -> None:
        """A full store lets a connection be replaced."""
        store, new = self.make_store(same_key="replace", maxsize=1), object()
        store.put(ANN, object())
        store.put(ANN, new)
        same(store.get(ANN), (new,))

    def test_a_held_key_is_refused(self) -> None:
        """With ``refuse`` a second connection raises, names the key and changes nothing."""
        store, first = self.make_store(same_key="refuse"), object()
        recorded = record(store)
        store.put(ANN, first)
        error = raises(KeyTakenError, store.put, ANN, object())
        same((error.key, store.get(ANN), recorded.removals), (ANN, (first,), []))
        store.purge(ANN)
        store.put(ANN, object())

    def test_a_category_may_have_its_own_rule(self) -> None:
        """``same_key`` of a category goes before the store's; None leaves it as it is."""
        rules = {"game": CategoryRules(same_key="refuse"), "lobby": CategoryRules()}
        store = self.make_store(same_key="join", categories=rules)
        for _ in range(2):
            store.put(ANN, object())
            store.put(("default", ("other", 1)), object())
        store.put(("default", ("game", 1)), object())
        raises(KeyTakenError, store.put, ("default", ("game", 1)), object())
        same(store.count(), 5)

    # -- bounds

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
        """A connection beyond its number of keys is refused; purging one makes room."""
        store, ann = self.make_store(), object()
        keys = [("default", ("lobby", number)) for number in range(MAX_KEYS_PER_CONNECTION + 1)]
        for key in keys[:-1]:
            store.put(key, ann)
        error = raises(StoreError, store.put, keys[-1], ann)
        same((error.key, len(store)), (keys[-1], MAX_KEYS_PER_CONNECTION))
        store.purge(keys[0])
        store.put(keys[-1], ann)
        same(len(store.purge_connection(ann)), MAX_KEYS_PER_CONNECTION)
