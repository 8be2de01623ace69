"""The words of stores."""

import dataclasses

import pytest

from sfere_tornado.stores import (
    CategoryRules,
    ExpiringStore,
    MemoryStore,
    Removal,
    SameKey,
    Store,
)
from sfere_tornado.stores.base import one_of


@pytest.mark.parametrize("thing", [MemoryStore(), ExpiringStore()])
def test_a_store_is_a_store(thing):
    """Both kinds are stores by type."""
    assert isinstance(thing, Store)


@pytest.mark.parametrize("thing", [{}, None, "", MemoryStore])
def test_other_things_are_no_stores(thing):
    """A dict, nothing, text and the class itself are no stores."""
    assert not isinstance(thing, Store)


def test_the_contract_cannot_be_made():
    """A store that lacks a method is found out when it is made."""
    with pytest.raises(TypeError, match="abstract"):
        Store()


def test_a_removal_says_what_left_and_what_is_left():
    """A removal has key, connection, cause and the number of connections that the key still has."""
    removal = Removal("key", "connection", "explicit", 2)
    assert (removal.key, removal.connection, removal.cause, removal.remaining) == (
        "key",
        "connection",
        "explicit",
        2,
    )


def test_rules_of_a_category_do_not_change():
    """Rules are read once, when a store is made, so they are frozen; None is as the store has it."""
    rules = CategoryRules()
    assert (rules.ttl, rules.expiry, rules.same_key) == (None, None, None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        rules.ttl = 1.0


def test_a_word_is_one_of_those_listed():
    """A setting is one of its words; the error names it, its words, what was given and the nearest."""
    assert one_of("join", SameKey, "same_key") == "join"
    with pytest.raises(
        ValueError,
        match=r"^same_key is one of join, replace, refuse, not 'joins'; did you mean 'join'\?$",
    ):
        one_of("joins", SameKey, "same_key")
    with pytest.raises(ValueError, match=r"not \[\]$"):
        one_of([], SameKey, "same_key")
