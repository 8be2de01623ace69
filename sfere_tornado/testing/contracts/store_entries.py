"""The rules of a store's contract about entries: what is stored is found, and in which order."""

from __future__ import annotations

from ...errors import KeyShapeError, StoreError
from ...keys import ANY, Key
from .store_rules import ANN, BRIAN, LOBBY, StoreRules, raises, same

__all__ = ("EntryRules",)


class _Alike:
    """A connection that claims to be equal to every other, and has no hash."""

    __hash__ = None  # type: ignore[assignment]  # the point of the class

    def __eq__(self, other: object) -> bool:
        return True


class EntryRules(StoreRules):
    """How connections are stored and looked up."""

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
