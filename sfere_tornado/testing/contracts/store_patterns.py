"""The rules of a store's contract about patterns: what is found, what is left out."""

from __future__ import annotations

import random
from typing import Any, Final

from ...errors import KeyShapeError
from ...keys import ANY, as_pattern
from .store_rules import ANN, BRIAN, LOBBY, StoreRules, raises, same

__all__ = ("PatternRules",)

#: Parts that are wildcards, separators or empty in other systems, and types equal to none of them.
_PARTS: Final = ("*", ":*", "ANY", ">", "a/b", "a", "b", "", "%2A", "None", 1, ("a", "b"))


class PatternRules(StoreRules):
    """How patterns match."""

    def test_patterns_match_as_by_hand(self) -> None:
        """A key matches a pattern whose parts are equal or ANY: no string is a wildcard."""
        dice = random.Random(20261124)  # noqa: S311  # the same keys each time is what is wanted
        for _ in range(100):
            store = self.make_store()
            stored = [(_some_key(dice, _PARTS), object()) for _ in range(34)]
            for key, connection in stored:
                store.put(key, connection)
            for _ in range(30):
                pattern = _some_key(dice, (*_PARTS, ANY, ANY, ANY, ANY, ANY, ANY, ANY))
                found = [(key, connection) for key, connection in stored if _match(pattern, key)]
                same(store.connections(pattern), [connection for _, connection in found])
                same(store.count(pattern), len(found))
                same(store.keys(pattern), list(dict.fromkeys(key for key, _ in found)))

    def test_patterns_match_as_by_hand_while_connections_come_and_go(self) -> None:
        """After any puts and purges, a pattern finds what is stored now."""
        dice = random.Random(2)  # noqa: S311  # the same keys each time is what is wanted
        parts = ("a", "*", 1)
        connections = [object() for _ in range(6)]
        store = self.make_store()
        stored: list[tuple[Any, object]] = []
        for _ in range(3000):
            key, connection = _some_key(dice, parts), dice.choice(connections)
            match dice.randrange(6):
                case 0:
                    store.purge_connection(connection)
                    stored = [pair for pair in stored if pair[1] is not connection]
                case 1:
                    store.purge(key)
                    stored = [pair for pair in stored if pair[0] != key]
                case _:
                    store.put(key, connection)
                    stored += [(key, connection)] if (key, connection) not in stored else []
            pattern = _some_key(dice, (*parts, ANY, ANY))
            found = [pair for pair in stored if _match(pattern, pair[0])]
            same(set(store.connections(pattern)), {connection for _, connection in found})
            same(store.count(pattern), len({connection for _, connection in found}))
            same(set(store.keys(pattern)), {key for key, _ in found})
            same(len(store.keys(pattern)), len({key for key, _ in found}))
            same(len(store), len(stored))

    def test_the_short_pattern_matches_every_category(self) -> None:
        """``(ANY, ANY)`` matches everything, ``(scope, ANY)`` everything of a scope."""
        store, ann, brian = self.make_store(), object(), object()
        store.put(("red", ("lobby", "ann")), ann)
        store.put(("blue", ("game", 7)), brian)
        same(
            (store.connections((ANY, ANY)), store.connections(("blue", ANY))),
            ([ann, brian], [brian]),
        )

    def test_a_connection_under_two_matching_keys_is_found_once(self) -> None:
        """A connection with several matching keys is listed and counted once."""
        store, ann = self.make_store(), object()
        keys = [("default", ("lobby", name)) for name in ("ann", "anna", "annie")]
        for key in keys:
            store.put(key, ann)
        same(
            (store.connections(LOBBY), store.count(), len(store), store.keys()), ([ann], 1, 3, keys)
        )
        same(store.keys_of(ann), tuple(keys))
        store.purge(keys[0])
        store.purge(keys[2])
        same((store.connections(LOBBY), store.keys(LOBBY)), ([ann], [keys[1]]))
        store.purge(keys[1])
        same((store.connections(LOBBY), store.keys_of(ann)), ([], ()))

    def test_excluded_keys_are_left_out(self) -> None:
        """``exclude`` takes a set, list or tuple of keys, one Key, or one Pattern."""
        store, ann, brian = self.make_store(), object(), object()
        store.put(ANN, ann)
        store.put(BRIAN, brian)
        for exclude in (
            {ANN},
            [list(ANN)],
            (ANN, ("default", ("lobby", "nobody"))),
            store.keys()[0],
        ):
            same(store.connections(LOBBY, exclude), [brian])
        same(store.connections(LOBBY, exclude=as_pattern((ANY, (ANY, "brian")))), [ann])
        same(store.connections(LOBBY, exclude=as_pattern(LOBBY)), [])
        same(store.connections(LOBBY, exclude=LOBBY), [])
        same(store.connections(LOBBY, exclude=frozenset()), [ann, brian])
        same(store.count(LOBBY), 2)

    def test_who_is_excluded_under_one_key_is_left_out_under_all(self) -> None:
        """A connection is left out if any of its keys is excluded, matching or not."""
        store, ann = self.make_store(), object()
        store.put(ANN, ann)
        store.put(("default", ("user", "ann")), ann)
        same(store.connections(LOBBY, exclude={("default", ("user", "ann"))}), [])

    def test_another_kind_of_exclude_is_an_error(self) -> None:
        """An exclude that is neither keys nor a Pattern raises."""
        store = self.make_store()
        for wrong in ("default/lobby/ann", 7, None, {ANN: 1}, [LOBBY], {"ann"}):
            raises(KeyShapeError, store.connections, LOBBY, wrong)


def _some_key(dice: random.Random, parts: tuple[Any, ...]) -> Any:
    return (dice.choice(parts), (dice.choice(parts), dice.choice(parts)))


def _match(pattern: Any, key: Any) -> bool:
    flat = zip((pattern[0], *pattern[1]), (key[0], *key[1]), strict=True)
    return all(wanted is ANY or wanted == value for wanted, value in flat)
