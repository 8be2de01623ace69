"""The rules of a store's contract about removal, and about the sign of life that prevents it."""

from __future__ import annotations

from ...keys import ANY
from .store_rules import ANN, BRIAN, StoreRules, record, same

__all__ = ("RemovalRules",)


class RemovalRules(StoreRules):
    """How connections leave the store."""

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
