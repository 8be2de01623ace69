"""The rules of a store's contract about a second connection under a key."""

from __future__ import annotations

from ...errors import KeyTakenError
from ...stores import CategoryRules
from .store_rules import ANN, LOBBY, StoreRules, raises, record, same

__all__ = ("SharedKeyRules",)


class SharedKeyRules(StoreRules):
    """What ``same_key`` does: join, replace or refuse."""

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
