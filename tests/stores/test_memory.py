"""The store in memory, beyond the contract: its settings, what it says of itself, what it costs."""

import pytest

from sfere_tornado.keys import ANY
from sfere_tornado.stores import MAXSIZE, CategoryRules, ExpiringStore, MemoryStore

ANN = ("default", ("lobby", "ann"))


def test_the_defaults():
    """Unless told otherwise connections join, 10,000 of them, and a full store refuses."""
    store = MemoryStore()
    assert (store.same_key, store.maxsize, store.on_full) == ("join", 10_000, "refuse")
    assert MAXSIZE == 10_000
    assert (store.on_evict, store.on_removal) == (None, None)


@pytest.mark.parametrize("maxsize", [0, -1, 1.5, True, "10", None])
def test_maxsize_is_a_whole_number(maxsize):
    """A bound that bounds nothing, or is no number, is refused."""
    with pytest.raises(ValueError, match="maxsize is a whole number from 1"):
        MemoryStore(maxsize=maxsize)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"same_key": "joins"},
            "same_key is one of join, replace, refuse, not 'joins'; did you mean 'join'",
        ),
        ({"on_full": "drop"}, "on_full is one of refuse, evict, not 'drop'"),
        ({"categories": {"lobby": {"ttl": 5}}}, "the rules of category 'lobby' are CategoryRules"),
    ],
)
@pytest.mark.parametrize("kind", [MemoryStore, ExpiringStore])
def test_a_wrong_setting_is_an_error_that_names_it(kind, options, text):
    """A setting outside its range is refused when the store is made, with the right words."""
    with pytest.raises(ValueError, match=text):
        kind(**options)


def test_a_wrong_rule_of_a_category_is_an_error_that_names_it():
    """The rules of a category are refused when they are made, with the right words."""
    with pytest.raises(
        ValueError,
        match=r"category\.same_key: must be one of join, replace, refuse, not 'replaced'; .*'replace'",
    ):
        CategoryRules(same_key="replaced")


@pytest.mark.parametrize("rules", [CategoryRules(ttl=5.0), CategoryRules(expiry="fixed")])
def test_a_lease_in_a_store_without_leases_is_an_error(rules):
    """A memory store does not silently ignore a category's lease."""
    with pytest.raises(ValueError, match="of category 'lobby' need an expiring store"):
        MemoryStore(categories={"lobby": rules})


def test_nothing_ever_expires():
    """A memory store has no leases: nothing is due, ever."""
    store = MemoryStore()
    store.put(ANN, object())
    assert store.next_expiry() is None
    assert store.expire() == []
    assert len(store) == 1


def test_it_says_what_it_has():
    """The repr tells connections from keys, and the settings that matter when something was refused."""
    store, ann = MemoryStore(maxsize=5, same_key="replace", on_full="evict"), object()
    store.put(ANN, ann)
    store.put(("default", ("user", "ann")), ann)
    assert repr(store) == "<MemoryStore: 1 connections under 2 keys, replace, maxsize 5, evict>"


def test_an_excluding_look_leaves_the_store_as_it_is():
    """Leaving connections out of a result leaves them in the store."""
    store, ann, brian = MemoryStore(), object(), object()
    store.put(ANN, ann)
    store.put(("default", ("lobby", "brian")), brian)
    assert store.connections((ANY, ANY), exclude={ANN}) == [brian]
    assert store.connections((ANY, ANY)) == [ann, brian]


def test_a_listing_is_the_callers_own():
    """A list of connections does not change when the store does, so that it may be walked over while they leave."""
    store, people = MemoryStore(), [object() for _ in range(3)]
    for number, person in enumerate(people):
        store.put(("default", ("lobby", number)), person)
    found = store.connections((ANY, ANY))
    for person in found:
        store.purge_connection(person)
    assert found == people
    assert len(store) == 0
