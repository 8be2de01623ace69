"""The rules of a store's contract about callbacks: which are called, when, and how often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import KeyTakenError, StoreFullError
from ...keys import ANY
from .store_rules import ANN, BRIAN, StoreRules, raises, record, same

if TYPE_CHECKING:
    from ...keys import Key

__all__ = ("CallbackRules",)


class CallbackRules(StoreRules):
    """Which callbacks a store calls, and in what order."""

    def test_on_evict_may_be_given_or_set(self) -> None:
        """``on_evict`` is an argument and an attribute; storing alone calls nothing."""
        first_calls: list[Any] = []
        store, ann = self.make_store(on_evict=lambda *call: first_calls.append(call)), object()
        store.put(ANN, ann)
        same(first_calls, [])
        store.purge(ANN)
        same(first_calls, [(ANN, ann, "explicit")])
        later: list[Any] = []
        store.on_evict = lambda *call: later.append(call)
        store.put(ANN, ann)
        store.purge_connection(ann)
        same((len(first_calls), later), (1, [(ANN, ann, "explicit")]))

    def test_two_tabs_of_one_user_are_one_departure(self) -> None:
        """``on_removal`` is called for each removal; then ``on_evict``, for a key's last."""
        store, first, second = self.make_store(), object(), object()
        calls: list[str] = []
        store.on_removal = lambda removal: calls.append(f"removal {removal.remaining}")
        store.on_evict = lambda key, connection, cause: calls.append(
            f"evict {'second' if connection is second else ''}"
        )
        store.put(ANN, first)
        store.put(ANN, second)
        store.purge_connection(first)
        same(calls, ["removal 1"])
        store.put(ANN, first)
        store.purge_connection(first)
        store.purge_connection(second)
        same(calls, ["removal 1", "removal 1", "removal 0", "evict second"])

    def test_three_purged_connections_are_three_removals_and_one_eviction(self) -> None:
        """Purging a key with three connections reports each, and the key once, with the last."""
        store, tabs = self.make_store(), [object() for _ in range(3)]
        recorded = record(store)
        for tab in tabs:
            store.put(ANN, tab)
        store.purge(ANN)
        same([removal.connection for removal in recorded.removals], tabs)
        same(recorded.evictions, [(ANN, tabs[-1], "explicit")])

    def test_in_a_callback_the_store_has_exactly_who_remains(self) -> None:
        """What has left is gone before the callbacks are called."""
        store = self.make_store()
        seen: list[Any] = []
        store.on_removal = lambda removal: seen.append(
            (removal.key, store.keys(), store.connections((ANY, ANY)))
        )
        store.on_evict = lambda key, connection, cause: seen.append(
            (key, store.keys(), store.peek(key))
        )
        ann, brian = object(), object()
        store.put(ANN, ann)
        store.put(BRIAN, brian)
        store.purge_connection(ann)
        same(seen, [(ANN, [BRIAN], [brian]), (ANN, [BRIAN], ())])

    def test_callbacks_may_use_the_store(self) -> None:
        """A callback may put and purge: nothing recurses, nothing is lost."""
        store = self.make_store()
        order: list[int] = []
        depth = [0, 0]

        def next_one(key: Key, connection: object, cause: str) -> None:
            depth[0] += 1
            depth[1] = max(depth)
            order.append(key.id)
            if key.id < 2000:
                store.put((key.scope, (key.category, key.id + 1)), connection)
                store.purge_connection(connection)
            depth[0] -= 1

        store.on_evict = next_one
        store.put(("default", ("lobby", 0)), object())
        store.purge(("default", ("lobby", 0)))
        same((order, depth[1], len(store)), (list(range(2001)), 1, 0))

    def test_callbacks_are_called_in_order(self) -> None:
        """What a callback causes is called after what waited before."""
        store, keys = self.make_store(), [("default", ("lobby", number)) for number in range(4)]
        order: list[int] = []

        def evicted(key: Key, connection: object, cause: str) -> None:
            order.append(key.id)
            if key.id == 0:
                store.purge(keys[3])

        store.on_evict = evicted
        ann = object()
        for key in keys[:3]:
            store.put(key, ann)
        store.put(keys[3], object())
        store.purge_connection(ann)
        same(order, [0, 1, 2, 3])

    def test_on_put_is_called_for_each_new_entry(self) -> None:
        """``on_put`` has key and connection, once for each new entry; storing again is silent."""
        store, ann = self.make_store(), object()
        calls: list[Any] = []
        store.on_put = lambda *call: calls.append((*call, store.peek(call[0])))
        store.put(ANN, ann)
        store.put(ANN, ann)
        store.put(BRIAN, ann)
        same(calls, [(ANN, ann, (ann,)), (BRIAN, ann, (ann,))])
        store.purge(ANN)
        store.put(ANN, ann)
        same(len(calls), 3)

    def test_on_put_is_not_called_for_what_was_refused(self) -> None:
        """A newcomer that a key or a full store refuses is not an entry."""
        store = self.make_store(same_key="refuse", maxsize=1)
        store.put(ANN, object())
        calls: list[Any] = []
        store.on_put = lambda *call: calls.append(call)
        raises(KeyTakenError, store.put, ANN, object())
        raises(StoreFullError, store.put, BRIAN, object())
        same(calls, [])

    def test_a_newcomer_enters_before_what_it_replaces_leaves(self) -> None:
        """``on_put`` comes first, then ``on_removal`` and ``on_evict`` of what had to leave."""
        for options, key, cause in (
            ({"same_key": "replace"}, ANN, "replaced"),
            ({"maxsize": 1, "on_full": "evict"}, BRIAN, "size"),
        ):
            store, old, new = self.make_store(**options), object(), object()
            store.put(ANN, old)
            order: list[Any] = []
            store.on_put = lambda *call, order=order: order.append(call)
            store.on_removal = lambda removal, order=order: order.append(removal.cause)
            store.on_evict = lambda *call, order=order: order.append(call)
            store.put(key, new)
            same(order, [(key, new), cause, (ANN, old, cause)])

    def test_a_newcomer_may_be_purged_while_it_is_being_stored(self) -> None:
        """A callback of ``put`` may purge the new connection: all callbacks are called."""
        store, old, new = self.make_store(same_key="replace"), object(), object()
        store.put(ANN, old)
        order: list[Any] = []
        store.on_put = lambda *call: order.append(call)
        store.on_removal = lambda removal: order.append((removal.connection, removal.cause))
        store.on_evict = lambda *call: store.purge_connection(new)
        store.put(ANN, new)
        same((store.peek(ANN), len(store), store.keys_of(new)), ((), 0, ()))
        same(order, [(ANN, new), (old, "replaced"), (new, "explicit")])

    def test_what_a_put_would_replace_can_be_asked(self) -> None:
        """``leaving`` lists what a put replaces, changes nothing, and agrees with the put."""
        for same_key in ("join", "replace", "refuse"):
            store, ann, brian = self.make_store(same_key=same_key), object(), object()
            same(store.leaving(ANN, ann), [])
            store.put(ANN, ann)
            expected = [ann] if same_key == "replace" else []
            same((store.leaving(ANN, brian), store.leaving(ANN, ann)), (expected, []))
            same((store.leaving(BRIAN, brian), store.peek(ANN)), ([], (ann,)))
            if same_key != "refuse":
                same([each.connection for each in store.put(ANN, brian)], expected)
