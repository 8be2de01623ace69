"""The index: what finding costs, and that it keeps nothing of what has left."""

import gc
import weakref

import pytest

from sfere_tornado.keys import ANY, as_key, as_pattern
from sfere_tornado.stores.index import EVERYTHING, Group, Index


class Thing:
    """A connection that can be watched."""


def key(scope="default", category="lobby", item_id="ann"):
    """Return a key."""
    return as_key((scope, (category, item_id)))


def add(index, key, connection):
    """Add a connection as a store does, with the first entry of its key."""
    return index.add(key, connection, index.first_at(key))


def filled(count):
    """Return an index of many connections, each under a key of its own, and its entries."""
    index = Index()
    return index, [add(index, key(item_id=number), Thing()) for number in range(count)]


MASKS = [
    (ANY, (ANY, ANY)),
    ("red", (ANY, ANY)),
    (ANY, ("game", ANY)),
    (ANY, (ANY, 7)),
    ("red", ("game", ANY)),
    ("red", (ANY, 7)),
    (ANY, ("game", 7)),
    ("red", ("game", 7)),
]


@pytest.mark.parametrize("pattern", MASKS)
def test_each_mask_finds_what_it_names(pattern):
    """For each of the eight ways to bind parts, found is what has the bound parts and nothing else."""
    index = Index()
    keys = [
        key(scope, category, number)
        for scope in ("red", "blue")
        for category in ("game", "lobby")
        for number in (7, 8)
    ]
    things = {each: Thing() for each in keys}
    for each, thing in things.items():
        add(index, each, thing)
    scope, (category, item_id) = pattern
    expected = [
        things[each]
        for each in keys
        if scope in (ANY, each.scope)
        and category in (ANY, each.category)
        and item_id in (ANY, each.id)
    ]
    assert list(index.members(as_pattern(pattern)).values()) == expected
    assert [entry.connection for entry in index.entries(as_pattern(pattern))] == expected


@pytest.mark.parametrize(
    "pattern", [(ANY, (ANY, ANY)), ("default", ("lobby", ANY)), (ANY, ("lobby", ANY))]
)
def test_finding_copies_nothing(pattern):
    """A pattern is one look-up: the same dict is given each time, whatever its size."""
    index, _ = filled(100)
    found = index.members(as_pattern(pattern))
    assert len(found) == 100
    assert found is index.members(as_pattern(pattern))


@pytest.mark.parametrize("mask", MASKS)
def test_what_has_left_is_kept_nowhere(mask):
    """After a removal the index has no reference to the connection, and no group of nobody, for any mask."""
    index = Index()
    first, second = Thing(), Thing()
    entries = [add(index, key("red", "game", 7), first), add(index, key("red", "game", 7), second)]
    entries += [
        add(index, key("blue", "game", 7), first),
        add(index, key("red", "lobby", 7), first),
    ]
    watch = weakref.ref(first)
    for entry in entries:
        if entry.connection is first:
            index.remove(entry)
    assert list(index.members(as_pattern(mask)).values()) == [second]
    index.remove(entries[1])
    assert index.members(as_pattern(mask)) == {}
    del first, entries, entry
    gc.collect()
    assert watch() is None
    assert not any(index._groups)
    assert (index._entries, index._repeats, index.size) == ({}, {}, 0)


def test_a_connection_in_a_group_many_times_leaves_it_with_its_last_key():
    """Of several keys of a connection in a group, the last to go takes it out, in whichever order they go."""
    index, ann = Index(), Thing()
    entries = [add(index, key(item_id=number), ann) for number in range(4)]
    other = add(index, key(item_id="brian"), Thing())
    lobby = as_pattern((ANY, ("lobby", ANY)))
    for entry in (entries[2], entries[0], entries[3]):
        index.remove(entry)
        assert list(index.members(lobby).values()) == [ann, other.connection]
    index.remove(entries[1])
    assert list(index.members(lobby).values()) == [other.connection]


def test_the_few_that_are_left_of_many_are_few_to_walk_over():
    """A dict keeps the places of what was deleted; a group that has shrunk is copied into a small one."""
    index, entries = filled(10_000)
    lobby = as_pattern((ANY, ("lobby", ANY)))
    before = index.members(lobby).__sizeof__()
    for entry in entries[:-10]:
        index.remove(entry)
    after = index.members(lobby)
    assert list(after.values()) == [entry.connection for entry in entries[-10:]]
    assert after.__sizeof__() < before / 50


def test_removing_says_how_many_the_key_still_has():
    """The number of connections left under the entry's key is returned."""
    index = Index()
    entries = [add(index, key(), Thing()) for _ in range(3)]
    add(index, key(item_id="brian"), Thing())
    assert [index.remove(entry) for entry in entries] == [2, 1, 0]


def test_entries_are_found_by_key_and_by_connection():
    """An entry is found by key and connection together; a connection's entries come oldest first."""
    index, ann, brian = Index(), Thing(), Thing()
    first = add(index, key(), ann)
    assert (
        index.entry(key(), ann),
        index.entry(key(), brian),
        index.entry(key(item_id=1), ann),
    ) == (first, None, None)
    second = add(index, key(category="user"), ann)
    assert index.entry(key(category="user"), ann) is second
    assert index.entry(key(category="room"), ann) is None
    assert index.entries_of(ann) == [first, second]
    assert index.entries_of(brian) == []
    assert index.first_at(key()) is first
    assert index.first_at(key(item_id=1)) is None


def test_of_a_connection_with_many_keys_only_the_matching_are_found():
    """Entries of a pattern are those whose own key matches, not others of the same connection."""
    index, ann = Index(), Thing()
    first = add(index, key(), ann)
    add(index, key(category="user"), ann)
    add(index, key(scope="red"), Thing())
    assert list(index.entries(as_pattern(("default", ("lobby", ANY))))) == [first]
    assert len(list(index.entries(EVERYTHING))) == 3


def test_the_index_says_what_it_has():
    """Counts and reprs tell connections, keys and entries apart."""
    index, ann = Index(), Thing()
    entry = add(index, key(), ann)
    add(index, key(category="user"), ann)
    assert (index.size, index.key_count, index.connection_count) == (2, 2, 1)
    assert repr(index) == "<Index of 1 connections under 2 keys>"
    assert repr(entry) == "<StoreEntry default/lobby/ann until inf>"
    assert Group().deleted == 0
