"""The rules of a store's contract about callbacks and threads: who is told, when, and how often."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from ...keys import ANY
from .store_rules import ANN, BRIAN, LOBBY, StoreRules, same, tell

if TYPE_CHECKING:
    from ...keys import Key

__all__ = ("CallbackRules",)


class CallbackRules(StoreRules):
    """Who is told of a departure."""

    def test_on_evict_may_be_given_or_set(self) -> None:
        """``on_evict`` is an argument and an attribute; storing alone calls nothing."""
        given: list[Any] = []
        store, ann = self.make_store(on_evict=lambda *call: given.append(call)), object()
        store.put(ANN, ann)
        same(given, [])
        store.purge(ANN)
        same(given, [(ANN, ann, "explicit")])
        later: list[Any] = []
        store.on_evict = lambda *call: later.append(call)
        store.put(ANN, ann)
        store.purge_connection(ann)
        same((len(given), later), (1, [(ANN, ann, "explicit")]))

    def test_two_tabs_of_one_user_are_one_departure(self) -> None:
        """``on_evict`` is called when a key lets go of its last connection; ``on_removal`` for each, and first."""
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
        """Purging a key with three connections tells of each, and of the key once, with the last."""
        store, tabs = self.make_store(), [object() for _ in range(3)]
        told = tell(store)
        for tab in tabs:
            store.put(ANN, tab)
        store.purge(ANN)
        same([removal.connection for removal in told.removals], tabs)
        same(told.evictions, [(ANN, tabs[-1], "explicit")])

    def test_in_a_callback_the_store_has_exactly_who_remains(self) -> None:
        """What has left is gone before anybody is told."""
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
        """A callback that puts and purges works, never recurses, and loses nothing, however long the chain."""
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
        """What a callback causes is told after what was there to tell before."""
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

    def test_a_hundred_threads_leave_it_whole(self) -> None:
        """100 threads store, read and purge every second connection: 50 are left, and each removal is told once."""
        store = self.make_store()
        told = tell(store)
        begin = threading.Barrier(100)

        def work(number: int) -> None:
            key = ("default", ("lobby", number))
            begin.wait()
            store.put(key, object())
            store.get(key)
            store.connections(LOBBY)
            if number % 2 == 0:
                store.purge(key)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        same((len(store), store.count(LOBBY), len(store.keys())), (50, 50, 50))
        same(len(told.evictions), 50)
