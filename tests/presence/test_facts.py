"""Facts: plain values, from which every process derives the same members and the same changes."""

import dataclasses
import json
import pickle
import random
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfere_tornado.errors import PresenceFullError
from sfere_tornado.keys import ANY, Key, as_key
from sfere_tornado.presence import Grace, Presence, facts
from sfere_tornado.presence.facts import (
    Arrived,
    Departed,
    Fact,
    Hidden,
    Left,
    Shown,
    Updated,
    WaitEnded,
)
from sfere_tornado.reasons import DEPARTURE_REASONS
from sfere_tornado.testing import FakeClock

ANN = Key("default", ("lobby", "ann"))
BRIAN = Key("default", ("lobby", "brian"))
KEYS = [ANN, BRIAN, Key("default", ("kitchen", "ann")), Key("other", ("lobby", 1))]

#: One of each type, with all of its fields.
EXAMPLES = [
    Arrived(ANN, 7, "a", "laptop", {"colour": ["red"]}, hidden=True),
    Departed(7, "client", ANN),
    Left(ANN, "a"),
    Hidden(ANN, "a"),
    Shown(ANN, "a"),
    Updated(ANN, {"colour": "blue"}, "a"),
    WaitEnded(ANN),
]

TABS = st.sampled_from([None, "a", "b"])
IDS = st.integers(0, 9)
FACTS = st.one_of(
    st.builds(
        Arrived,
        st.sampled_from(KEYS),
        IDS,
        TABS,
        st.none(),
        st.sampled_from([None, None, 1, "red"]),
        st.sampled_from([None, None, True, False]),
    ),
    st.builds(
        Departed, IDS, st.sampled_from(sorted(DEPARTURE_REASONS)), st.sampled_from([None, *KEYS])
    ),
    st.builds(Left, st.sampled_from(KEYS), TABS),
    st.builds(Hidden, st.sampled_from(KEYS), TABS),
    st.builds(Shown, st.sampled_from(KEYS), TABS),
    st.builds(Updated, st.sampled_from(KEYS), st.sampled_from([1, 2]), TABS),
    st.builds(WaitEnded, st.sampled_from(KEYS)),
)
DELAYS = st.sampled_from([0.0, 0.0, 0.1, 4.9, 5.0, 19.0, 700.0])


class Recording(Presence):
    """Keeps each fact that it applies, with its time, as bytes: as a log would."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.log = []

    def apply(self, fact, now):
        changes = super().apply(fact, now)
        self.log.append((pickle.dumps((fact, now)), changes))
        return changes


def no_clock():
    """Fail: the caller that applies a fact passes its time."""
    pytest.fail("applying a fact read the clock")


def roster_at(presence, now):
    """Return everything that can be asked, at a time."""
    timer, presence.timer = presence.timer, lambda: now
    try:
        return (
            presence.roster(),
            presence.announced(),
            presence.next_expiry(),
            len(presence),
            [presence.member(key) for key in KEYS],
        )
    finally:
        presence.timer = timer


def to_json(fact):
    """Return a fact as JSON: the name of its type, then its fields."""
    return json.dumps({type(fact).__name__: dataclasses.asdict(fact)})


def from_json(text):
    """Return the fact of a JSON text."""
    [(name, fields)] = json.loads(text).items()
    if fields.get("key") is not None:
        fields["key"] = as_key(fields["key"])
    return getattr(facts, name)(**fields)


def test_there_is_an_example_of_each_type():
    """The tests below look at every type of fact."""
    assert {type(fact) for fact in EXAMPLES} == set(get_args(Fact))
    assert {each.__name__ for each in get_args(Fact)} | {"ConnectionId", "Fact"} == set(
        facts.__all__
    )


@pytest.mark.parametrize("fact", EXAMPLES, ids=lambda fact: type(fact).__name__)
def test_a_fact_is_a_plain_value(fact):
    """It can be pickled and written as JSON, equals what comes out, and cannot be changed."""
    for other in (pickle.loads(pickle.dumps(fact)), from_json(to_json(fact))):
        assert other == fact
        assert type(other) is type(fact)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(fact, dataclasses.fields(fact)[0].name, None)
    assert not hasattr(fact, "__dict__")


def test_facts_compare_by_type_and_content():
    """That a tab was hidden is not that it was shown, or that its member left."""
    assert len({Left(ANN, "a"), Hidden(ANN, "a"), Shown(ANN, "a"), Hidden(ANN, "a")}) == 3
    assert Hidden(ANN, "a") not in (Shown(ANN, "a"), Hidden(ANN, "b"), Hidden(BRIAN, "a"))


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(FACTS, DELAYS), max_size=60), st.sampled_from([2, 1000]))
def test_the_same_facts_make_the_same_roster(script, max_members):
    """Two instances apply any facts, one of them from copies: all changes and rosters are equal."""
    grace = Grace(hidden=20, leave=1)
    first, second = (Presence(grace, timer=no_clock, max_members=max_members) for _ in range(2))
    now = 1000.0
    for fact, delay in script:
        now += delay
        changes = first.apply(fact, now)
        assert second.apply(pickle.loads(pickle.dumps(fact)), now) == changes
        assert all(change.remaining == () for change in changes)
        assert roster_at(first, now) == roster_at(second, now)


@pytest.mark.parametrize("seed", range(4))
def test_another_process_can_follow(seed):
    """What one process records with its connections, another one derives from the facts alone."""
    clock, chance = FakeClock(), random.Random(seed)
    here = Recording(Grace(hidden=20), timer=clock, max_members=6)
    there = Presence(Grace(hidden=20), timer=no_clock, max_members=6)
    keys = [Key("default", ("lobby", number)) for number in range(6)]
    opened, kinds = [], set()
    for _ in range(3000):
        clock.advance(chance.choice([0.0, 0.01, 0.5, 2.0]))
        key, tab = chance.choice(keys), chance.choice(["a", "b", None])
        what = chance.choice(["arrive"] * 4 + ["depart"] * 3 + ["hide", "show", "update", "leave"])
        if what == "arrive":
            opened.append(object())
            here.arrive(key, opened[-1], tab=tab, hidden=chance.choice([None, True, False]))
        elif what == "depart":
            if opened:
                connection = opened.pop(chance.randrange(len(opened)))
                here.depart(connection, chance.choice(["client", "timeout", "revoked"]))
        elif what == "update":
            here.update(key, chance.randrange(3), tab)
        else:
            getattr(here, what)(key, tab)
        here.expire(2)
        for record, changes in here.log:
            fact, now = pickle.loads(record)
            kinds.add(type(fact))
            assert there.apply(fact, now) == changes
        here.log.clear()
        assert roster_at(there, clock()) == roster_at(here, clock())
    assert kinds == set(get_args(Fact))
    assert there.connections(keys[0]) == []


def test_applying_reads_no_clock():
    """The time of a fact is an argument, and what it says of times comes from that."""
    presence = Presence(timer=no_clock)
    [joined] = presence.apply(Arrived(ANN, 1), 50.0)
    assert joined.metas[0].since == 50.0
    assert presence.apply(Departed(1, "client"), 60.0) == []
    assert presence.next_expiry() == 65.0
    assert presence.apply(WaitEnded(ANN), 64.9) == []
    [left] = presence.apply(WaitEnded(ANN), 65.0)
    assert (left.kind, left.reason, presence.announced()) == ("left", "client", [])


def test_a_fact_comes_too_late_or_twice_and_changes_nothing():
    """Ids that are not open, ids that are, and members that are not here are passed over."""
    presence = Presence(timer=no_clock)
    for fact in (Departed(1, "client"), Left(ANN), Hidden(ANN), Shown(ANN), Updated(ANN, 1)):
        assert presence.apply(fact, 1.0) == []
    assert len(presence.apply(Arrived(ANN, 1), 1.0)) == 1
    assert presence.apply(Arrived(ANN, 1, hidden=True), 1.0) == []
    assert presence.apply(WaitEnded(ANN), 1e6) == []
    assert len(presence.apply(Departed(1, "revoked"), 2.0)) == 1
    assert presence.apply(Departed(1, "revoked"), 2.0) == []


def test_ids_of_other_processes_bring_no_connection():
    """A member may be here by a stream of another process; its id is a text, and nothing to close."""
    clock = FakeClock()
    presence, own = Presence(timer=clock), object()
    presence.apply(Arrived(ANN, "node 2, 7"), clock())
    assert (presence.connections(ANN), ANN in presence) == ([], True)
    presence.arrive(ANN, own)
    assert presence.connections(ANN) == [own]
    assert presence.depart(own, "revoked") == []
    [left] = presence.apply(Departed("node 2, 7", "revoked"), clock())
    assert (left.kind, presence.roster((ANY, (ANY, ANY)))) == ("left", [])


def test_a_closed_connection_is_not_kept():
    """After it has departed from all of its keys, presence does not have it, also while it waits."""

    class Thing:
        pass

    presence, thing = Presence(timer=FakeClock()), Thing()
    presence.arrive(ANN, thing)
    presence.arrive(BRIAN, thing)
    presence.depart(thing, "client", key=ANN)
    assert presence.connections(BRIAN) == [thing]
    presence.depart(thing, "client")
    assert (presence._rules.connections, presence._rules.open_streams) == ({}, {})


def test_a_newcomer_did_not_remain():
    """Members that made place for it, or came back as it, left before it arrived."""
    clock = FakeClock()
    presence, things = Presence(timer=clock, max_members=2), [object(), object()]
    presence.arrive(BRIAN, things[0])
    presence.arrive(ANN, things[1])
    presence.depart(things[1], "client")
    phil = Key("default", ("lobby", "phil"))
    changes = presence.with_remaining(presence.arrive(phil, object()))
    assert [(change.kind, change.key.id, change.remaining) for change in changes] == [
        ("left", "ann", (BRIAN,)),
        ("joined", "phil", ()),
    ]
    [left] = presence.with_remaining(presence.depart(things[0], "revoked"))
    assert left.remaining == (phil,)


def test_a_fact_is_never_refused():
    """A newcomer beyond the bound is refused before it is a fact; as a fact it joins everywhere."""
    clock = FakeClock()
    presence = Presence(timer=clock, max_members=1)
    presence.arrive(ANN, object())
    with pytest.raises(PresenceFullError):
        presence.arrive(BRIAN, object())
    assert len(presence) == 1
    [joined] = presence.apply(Arrived(BRIAN, "node 2, 1"), clock())
    assert (joined.kind, joined.key, len(presence)) == ("joined", BRIAN, 2)
