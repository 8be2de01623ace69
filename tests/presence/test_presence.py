"""Who is here: arrivals, departures, the grace between them, and what is announced of them."""

import random
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfere_tornado import reasons
from sfere_tornado.errors import KeyShapeError, MetaError, PresenceFullError, StoreError
from sfere_tornado.keys import ANY, Key
from sfere_tornado.presence import (
    EXPIRE_SLICE,
    MAX_DATA_SIZE,
    MAX_LABEL,
    MAX_MEMBERS,
    MAX_METAS,
    Change,
    Departure,
    DepartureReason,
    Grace,
    Presence,
    diff,
)
from sfere_tornado.presence.members import Members
from sfere_tornado.presence.states import MemberState, Stream
from sfere_tornado.presence.waits import Waits
from sfere_tornado.testing import FakeClock

ANN = Key("default", ("lobby", "ann"))
BRIAN = Key("default", ("lobby", "brian"))
COOK = Key("default", ("kitchen", "ann"))
PHIL = Key("default", ("lobby", "phil"))
LOBBY = (ANY, ("lobby", ANY))


class Thing:
    """A connection; equal to all others, to show that identity counts."""

    def __eq__(self, other):
        return True

    def __hash__(self):
        return 1


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def presence(clock):
    return Presence(timer=clock)


def short(changes):
    """Return changes as pairs of kind and id, with the reason of a departure."""
    return [
        (change.kind, change.key.id, change.reason)
        if change.kind == "left"
        else (change.kind, change.key.id)
        for change in changes
    ]


def here(presence):
    """Return the ids of the exact roster, in brackets those who are away."""
    return [f"({member.key.id})" if member.away else member.key.id for member in presence.roster()]


def announced(presence):
    """Return the ids of what was announced, in brackets those who are away."""
    return [
        f"({member.key.id})" if member.away else member.key.id for member in presence.announced()
    ]


def settle(presence, clock, seconds):
    """Let time pass, and return what is due then."""
    clock.advance(seconds)
    return short(presence.expire())


# -- joining and leaving


def test_the_first_connection_joins_and_the_last_departure_leaves_after_the_grace(presence, clock):
    """A closed stream is waited for 5 seconds: its member is away, then announced as left."""
    ann, brian = Thing(), Thing()
    assert short(presence.arrive(ANN, ann)) == [("joined", "ann")]
    assert short(presence.arrive(BRIAN, brian)) == [("joined", "brian")]
    assert presence.depart(brian, "client") == []
    assert (here(presence), announced(presence), len(presence)) == (
        ["ann", "(brian)"],
        ["ann", "brian"],
        2,
    )
    assert presence.next_expiry() == clock() + 5
    assert settle(presence, clock, 4.999) == []
    [left] = [*presence.expire(), *(clock.advance(0.001) or presence.expire())]
    assert (left[:2], left.remaining) == (("left", BRIAN), ())
    [left] = presence.with_remaining([left])
    assert (left.reason, left.remaining) == ("client", (ANN,))
    assert (here(presence), announced(presence), presence.next_expiry()) == (["ann"], ["ann"], None)
    assert settle(presence, clock, 1000) == []
    assert repr(presence) == "<Presence: 1 members, 0 of them waited for>"


WAITS = {
    "leave": 0,
    "client": 5,
    "slow": 5,
    "error": 5,
    "server": 5,
    "timeout": 0,
    "expired": 0,
    "replaced": 0,
    "revoked": 0,
}


@pytest.mark.parametrize(("reason", "seconds"), WAITS.items())
def test_each_reason_has_its_grace(presence, clock, reason, seconds):
    """What may be a reload waits; every other departure is announced in the same call."""
    ann = Thing()
    presence.arrive(ANN, ann)
    changes = short(presence.depart(ann, reason))
    if seconds:
        assert (changes, settle(presence, clock, seconds - 0.001)) == ([], [])
        changes = settle(presence, clock, 0.001)
    assert changes == [("left", "ann", reason)]
    assert (here(presence), len(presence)) == ([], 0)


def test_a_process_that_stops_announces_nobody(presence, clock):
    """The clients of a drain go elsewhere: the roster drops them, and it is never announced."""
    ann = Thing()
    presence.arrive(ANN, ann)
    assert presence.depart(ann, "shutdown") == []
    assert (here(presence), announced(presence), settle(presence, clock, 1e6)) == ([], [], [])


def test_a_stop_can_be_given_a_grace(clock):
    """Where the grace of shutdown is a time, a departure for that reason waits like another."""
    presence, ann = Presence(Grace(shutdown=60), timer=clock), Thing()
    presence.arrive(ANN, ann)
    assert presence.depart(ann, "shutdown") == []
    assert settle(presence, clock, 60) == [("left", "ann", "shutdown")]


def test_every_reason_of_a_connection_is_known():
    """Presence knows each reason for which a connection closes, and ``leave``."""
    assert set(get_args(DepartureReason)) == {*get_args(reasons.Reason), "leave"}
    for reason in get_args(DepartureReason):
        Grace().wait(reason)


def test_a_category_has_its_own_grace(clock):
    """What is set for a category counts for its keys only."""
    presence = Presence(Grace(client=1), categories={"kitchen": Grace(client=9)}, timer=clock)
    things = {key: Thing() for key in (ANN, COOK)}
    for key, thing in things.items():
        presence.arrive(key, thing)
    for thing in things.values():
        presence.depart(thing, "client")
    clock.advance(1)
    assert [change.key for change in presence.expire()] == [ANN]
    assert presence.roster() == presence.roster(("default", ("kitchen", "ann")))
    clock.advance(8)
    assert [change.key for change in presence.expire()] == [COOK]


def test_a_return_within_the_grace_is_silent(presence, clock):
    """A reload is a departure and an arrival: neither is announced, also when expire is late."""
    first, second = Thing(), Thing()
    presence.arrive(ANN, first)
    presence.depart(first, "client")
    clock.advance(4.9)
    assert presence.arrive(ANN, second) == []
    assert (here(presence), settle(presence, clock, 100)) == (["ann"], [])


def test_a_return_after_the_grace_is_a_departure_and_an_arrival(presence, clock):
    """A member past its grace has left, also before expire; the newcomer is not among the rest."""
    first, second = Thing(), Thing()
    presence.arrive(BRIAN, Thing())
    presence.arrive(ANN, first)
    presence.depart(first, "client")
    clock.advance(5)
    assert (here(presence), announced(presence), ANN in presence, presence.member(ANN)) == (
        ["brian"],
        ["brian", "ann"],
        False,
        None,
    )
    left, joined = presence.with_remaining(presence.arrive(ANN, second))
    assert (left.kind, left.reason, left.remaining, joined.kind) == (
        "left",
        "client",
        (BRIAN,),
        "joined",
    )
    assert presence.expire() == []


def test_two_tabs_are_one_member(presence, clock):
    """The second tab is not a new member, and only the last tab's departure counts."""
    first, second = Thing(), Thing()
    assert short(presence.arrive(ANN, first, tab="a")) == [("joined", "ann")]
    assert presence.arrive(ANN, second, tab="b") == []
    assert presence.depart(first, "revoked") == []
    assert settle(presence, clock, 100) == []
    assert short(presence.depart(second, "revoked")) == [("left", "ann", "revoked")]


def test_one_tab_reloads_while_another_is_refused(presence, clock):
    """The wait for one tab goes on when another ends, whatever its reason is."""
    first, second, third = Thing(), Thing(), Thing()
    presence.arrive(ANN, first, tab="a")
    presence.arrive(ANN, second, tab="b")
    presence.depart(first, "client")
    clock.advance(1)
    assert presence.depart(second, "timeout") == []
    clock.advance(1)
    assert presence.arrive(ANN, third, tab="a") == []
    assert short(presence.depart(third, "revoked")) == [("left", "ann", "revoked")]


def test_the_reason_is_that_of_the_tab_that_was_waited_for_longest(clock):
    """Of several waits that ended before one call of expire, the last gives the reason."""
    presence, first, second = Presence(Grace(slow=9), timer=clock), Thing(), Thing()
    presence.arrive(ANN, first, tab="a")
    presence.arrive(ANN, second, tab="b")
    presence.depart(first, "client")
    presence.depart(second, "slow")
    assert settle(presence, clock, 100) == [("left", "ann", "slow")]


def test_a_departure_is_told_once(presence):
    """A connection that has departed, or never arrived, changes nothing."""
    ann = Thing()
    presence.arrive(ANN, ann)
    assert len(presence.depart(ann, "timeout")) == 1
    assert (
        presence.depart(ann, "timeout"),
        presence.depart(Thing(), "client"),
        presence.depart(None, "error"),
    ) == ([], [], [])


def test_a_connection_arrives_once(presence):
    """A second arrival under the same key changes nothing."""
    ann = Thing()
    presence.arrive(ANN, ann, tab="a")
    assert presence.arrive(ANN, ann, tab="b") == []
    assert [meta.tab for meta in presence.member(ANN).metas] == ["a"]
    assert (
        presence.is_open(ANN, ann),
        presence.is_open(ANN, Thing()),
        presence.is_open(BRIAN, ann),
    ) == (
        True,
        False,
        False,
    )


def test_a_connection_departs_from_all_its_keys(presence):
    """A stream may have several keys; it departs from all of them, or from one."""
    ann = Thing()
    presence.arrive(ANN, ann)
    presence.arrive(COOK, ann)
    presence.arrive(BRIAN, ann)
    assert [change.key for change in presence.depart(ann, "timeout", key=BRIAN)] == [BRIAN]
    assert [change.key for change in presence.depart(ann, "timeout")] == [ANN, COOK]


def test_several_departures_are_one_call(presence):
    """Each has its own reason and key; the members that remain are those after the last one."""
    ann, brian, phil = Thing(), Thing(), Thing()
    presence.arrive(ANN, ann)
    presence.arrive(BRIAN, brian)
    presence.arrive(COOK, ann)
    presence.arrive(PHIL, phil)
    changes = presence.depart_many(
        [
            Departure(ann, "revoked", ANN),
            Departure(Thing(), "client"),
            Departure(brian, "timeout"),
        ]
    )
    assert [(change.key, change.reason) for change in changes] == [
        (ANN, "revoked"),
        (BRIAN, "timeout"),
    ]
    assert {change.remaining for change in presence.with_remaining(changes)} == {(PHIL,)}
    assert [member.key for member in presence.roster()] == [PHIL, COOK]
    with pytest.raises(ValueError, match="did you mean 'client'"):
        presence.depart_many([Departure(ann, "clinet")])


def test_who_remains_is_of_the_same_scope_and_category(presence):
    """The members that remain are of the same scope and category, also those that are away."""
    for scope in ("default", "other"):
        presence.arrive(Key(scope, ("lobby", "brian")), Thing())
    presence.arrive(COOK, Thing())
    away, ann = Thing(), Thing()
    presence.arrive(Key("default", ("lobby", "away")), away)
    presence.depart(away, "client")
    presence.arrive(ANN, ann)
    [left] = presence.with_remaining(presence.depart(ann, "revoked"))
    assert left.remaining == (BRIAN, ("default", ("lobby", "away")))


# -- leaving on purpose


def test_leaving_is_told_at_once(presence):
    """The member has left with all of its tabs; a stream that closes afterwards changes nothing."""
    tabs = [Thing(), Thing()]
    for tab in tabs:
        presence.arrive(ANN, tab)
    assert presence.connections(ANN) == tabs
    assert short(presence.leave(ANN)) == [("left", "ann", "leave")]
    assert (
        presence.leave(ANN),
        presence.depart(tabs[0], "client"),
        here(presence),
        presence.connections(ANN),
    ) == (
        [],
        [],
        [],
        [],
    )


def test_leaving_ends_a_wait(presence):
    """A leave that arrives after the stream has closed ends the wait, and is announced once."""
    ann = Thing()
    presence.arrive(ANN, ann)
    presence.depart(ann, "client")
    assert short(presence.leave(ANN)) == [("left", "ann", "leave")]
    assert presence.next_expiry() is None


def test_a_tab_may_leave_alone(presence, clock):
    """A member that leaves one of two tabs has not left; it has with the second one."""
    tabs = {name: Thing() for name in "ab"}
    for name, thing in tabs.items():
        presence.arrive(ANN, thing, tab=name)
    assert presence.connections(ANN, "a") == [tabs["a"]]
    assert (presence.leave(ANN, "a"), presence.leave(ANN, "nothing")) == ([], [])
    assert short(presence.leave(ANN, "b")) == [("left", "ann", "leave")]


def test_leaving_may_have_a_grace_too(clock):
    """With a grace for leave, a leave that was a reload is not announced."""
    presence = Presence(Grace(leave=2), timer=clock)
    for second in (1.9, 2):
        ann = Thing()
        presence.arrive(ANN, ann)
        assert presence.leave(ANN) == []
        clock.advance(second)
    assert short(presence.expire()) == [("left", "ann", "leave")]


# -- away and back


def test_a_hidden_tab_is_away_at_once_and_left_after_the_longer_grace(presence, clock):
    """Some clients close the streams of hidden tabs: ten minutes away, then left."""
    ann = Thing()
    presence.arrive(ANN, ann, tab="a")
    assert short(presence.hide(ANN, "a")) == [("away", "ann")]
    assert (presence.hide(ANN, "a"), here(presence), announced(presence)) == (
        [],
        ["(ann)"],
        ["(ann)"],
    )
    assert presence.depart(ann, "client") == []
    assert settle(presence, clock, 599) == []
    assert settle(presence, clock, 1) == [("left", "ann", "client")]


def test_it_may_close_before_it_says_that_it_is_hidden(presence, clock):
    """The messages may come in any order: the longer wait counts, and away is announced once."""
    ann = Thing()
    presence.arrive(ANN, ann, tab="a")
    presence.depart(ann, "client")
    clock.advance(1)
    assert short(presence.hide(ANN, "a")) == [("away", "ann")]
    assert settle(presence, clock, 599.9) == []
    assert settle(presence, clock, 0.1) == [("left", "ann", "client")]


def test_a_hidden_tab_comes_back(presence, clock):
    """Its stream opens again in a visible tab: only back is announced."""
    first, second = Thing(), Thing()
    presence.arrive(ANN, first, tab="a")
    presence.hide(ANN, "a")
    presence.depart(first, "client")
    clock.advance(500)
    assert short(presence.arrive(ANN, second, tab="a", hidden=False)) == [("back", "ann")]
    assert (here(presence), announced(presence), settle(presence, clock, 1000)) == (
        ["ann"],
        ["ann"],
        [],
    )


def test_a_hidden_tab_whose_stream_breaks_stays_hidden(presence, clock):
    """Browsers also reconnect hidden tabs: back comes when the tab says that it is visible."""
    things = [Thing() for _ in range(3)]
    presence.arrive(ANN, things[0], tab="a")
    presence.hide(ANN, "a")
    presence.depart(things[0], "client")
    assert (presence.arrive(ANN, things[1], tab="a"), here(presence)) == ([], ["(ann)"])
    # Also where the end of the old one is noticed only afterwards.
    assert (
        presence.arrive(ANN, things[2], tab="a"),
        presence.depart(things[1], "timeout"),
        here(presence),
    ) == ([], [], ["(ann)"])
    assert short(presence.show(ANN, "a")) == [("back", "ann")]


def test_hidden_or_not_is_what_is_known_of_the_same_tab(presence):
    """Another tab, a tab without an id, and a tab that was shown again open as visible ones."""
    for tab, others in (("a", "b"), (None, None)):
        presence.arrive(ANN, Thing(), tab=tab)
        presence.hide(ANN)
        assert short(presence.arrive(ANN, Thing(), tab=others)) == [("back", "ann")]
        presence.leave(ANN)
    first = Thing()
    presence.arrive(ANN, first, tab="a")
    presence.hide(ANN, "a")
    presence.show(ANN, "a")
    presence.depart(first, "client")
    assert (presence.arrive(ANN, Thing(), tab="a"), here(presence)) == ([], ["ann"])


def test_a_hidden_tab_says_that_it_is_visible_before_its_stream_opens(presence, clock):
    """It is back in the same call; its stream is waited for like a reload, also past its grace."""
    ann, again = Thing(), Thing()
    presence.arrive(ANN, ann, tab="a")
    presence.hide(ANN, "a")
    presence.depart(ann, "timeout")
    clock.advance(100)
    assert short(presence.show(ANN, "a")) == [("back", "ann")]
    assert presence.show(ANN, "a") == []
    clock.advance(4)
    assert presence.arrive(ANN, again, tab="a") == []
    presence.depart(again, "client")
    assert settle(presence, clock, 5) == [("left", "ann", "client")]


def test_a_member_that_is_hidden_and_does_not_come_back_after_showing_has_left(presence, clock):
    """A page that was visible, and whose stream did not open, is waited for as long as a reload."""
    ann = Thing()
    presence.arrive(ANN, ann)
    presence.hide(ANN)
    presence.depart(ann, "client")
    presence.show(ANN)
    assert settle(presence, clock, 5) == [("left", "ann", "client")]


def test_where_a_reload_has_no_grace_showing_without_a_stream_is_leaving(clock):
    """A grace of 0 does not wait, also here."""
    presence, ann = Presence(Grace(client=0), timer=clock), Thing()
    presence.arrive(ANN, ann)
    presence.hide(ANN)
    presence.depart(ann, "client")
    [left] = presence.show(ANN)
    assert (left.kind, left.reason, len(left.metas)) == ("left", "client", 1)


def test_one_visible_tab_is_enough(presence):
    """A member is away when none of its tabs is visible, and back with the first visible one."""
    for name in "ab":
        presence.arrive(ANN, Thing(), tab=name)
    assert presence.hide(ANN, "a") == []
    assert short(presence.hide(ANN, "b")) == [("away", "ann")]
    assert short(presence.show(ANN, "a")) == [("back", "ann")]


def test_a_visible_tab_that_reloads_beside_a_hidden_one_flaps_nothing(presence, clock):
    """Away is not announced while it is waited for, but when the wait has ended."""
    first, second = Thing(), Thing()
    presence.arrive(ANN, first, tab="a")
    presence.arrive(ANN, Thing(), tab="b", hidden=True)
    presence.depart(first, "client")
    assert (here(presence), announced(presence)) == (["(ann)"], ["ann"])
    clock.advance(1)
    assert presence.arrive(ANN, second, tab="a") == []
    presence.depart(second, "client")
    assert settle(presence, clock, 5) == [("away", "ann")]
    assert settle(presence, clock, 1000) == []


def test_a_tab_may_arrive_hidden(presence):
    """A page that opens in the background joins as away, and stays so when it reconnects."""
    ann = Thing()
    [joined] = presence.arrive(ANN, ann, tab="a", hidden=True)
    assert (joined.kind, joined.away, here(presence)) == ("joined", True, ["(ann)"])
    presence.depart(ann, "slow")
    assert presence.arrive(ANN, Thing(), tab="a", hidden=True) == []


@pytest.mark.parametrize("reason", ["leave", "expired", "replaced", "revoked"])
def test_hidden_or_not_what_does_not_come_back_is_not_waited_for(presence, reason):
    """The longer grace is for streams that may come back."""
    ann = Thing()
    presence.arrive(ANN, ann, hidden=True)
    assert short(presence.depart(ann, reason)) == [("left", "ann", reason)]


def test_hidden_or_not_a_stop_is_not_announced(presence, clock):
    """A drain is not announced for hidden tabs either."""
    ann = Thing()
    presence.arrive(ANN, ann, hidden=True)
    assert (presence.depart(ann, "shutdown"), settle(presence, clock, 1e6)) == ([], [])


def test_hiding_an_unknown_member_is_harmless(presence):
    """A message for an unknown member, or an unknown tab, changes nothing."""
    presence.arrive(ANN, Thing(), tab="a")
    assert (
        presence.hide(BRIAN),
        presence.show(BRIAN),
        presence.hide(ANN, "b"),
        presence.update(BRIAN, 1),
    ) == (
        [],
        [],
        [],
        [],
    )


# -- what is known of each


def test_the_metas_say_what_is_known_of_each_connection(presence, clock):
    """A meta is tab, device, since, data and away; a reload keeps since and data."""
    first, second, phone = Thing(), Thing(), Thing()
    [joined] = presence.arrive(ANN, first, tab="a", device="laptop", data={"colour": "red"})
    began = clock()
    assert joined.metas == (("a", "laptop", began, {"colour": "red"}, False),)
    clock.advance(1)
    presence.depart(first, "client")
    assert presence.member(ANN).metas == (("a", "laptop", began, {"colour": "red"}, True),)
    assert presence.arrive(ANN, second, tab="a", device="laptop") == []
    presence.arrive(ANN, phone, tab="p", device="phone", hidden=True)
    assert presence.member(ANN).metas == (
        ("a", "laptop", began, {"colour": "red"}, False),
        ("p", "phone", began + 1, None, True),
    )


def test_a_stream_without_a_tab_continues_the_one_that_closed_first(presence, clock):
    """Clients without tab ids come back one for one: of two that were cut, each continues one."""
    things = [Thing() for _ in range(2)]
    for number, thing in enumerate(things):
        presence.arrive(ANN, thing, data=number)
    for thing in things:
        presence.depart(thing, "client")
    for _ in things:
        presence.arrive(ANN, Thing())
    assert [meta.data for meta in presence.member(ANN).metas] == [0, 1]
    assert settle(presence, clock, 100) == []


def test_a_duplicated_tab_counts_twice_and_is_shown_once(presence, clock):
    """A browser copies the id with the tab: the end of the copy is not waited for."""
    original, copy = Thing(), Thing()
    presence.arrive(ANN, original, tab="a")
    presence.arrive(ANN, copy, tab="a")
    assert len(presence.member(ANN).metas) == 1
    assert (presence.depart(copy, "client"), presence.next_expiry()) == ([], None)
    assert (presence.depart(original, "client"), settle(presence, clock, 5)) == (
        [],
        [("left", "ann", "client")],
    )


def test_an_old_stream_that_is_noticed_late_costs_nothing(presence, clock):
    """An old stream that times out after a reload is not waited for: the new one has its tab."""
    old, new = Thing(), Thing()
    presence.arrive(ANN, old, tab="a")
    presence.arrive(ANN, new, tab="a")
    clock.advance(30)
    assert (presence.depart(old, "timeout"), here(presence), presence.next_expiry()) == (
        [],
        ["ann"],
        None,
    )


def test_data_can_be_changed_and_the_change_is_told_once(presence):
    """Different data is announced, equal data is not; it may be for one tab."""
    presence.arrive(ANN, Thing(), tab="a", data=1)
    presence.arrive(ANN, Thing(), tab="b", data=1)
    [changed] = presence.update(ANN, 2, tab="b")
    assert (changed.kind, [meta.data for meta in changed.metas], changed.reason) == (
        "changed",
        [1, 2],
        None,
    )
    assert short(presence.update(ANN, 2)) == [("changed", "ann")]
    assert presence.update(ANN, 2) == []


def test_a_reload_with_other_data_is_a_change(presence):
    """Data that a page comes back with is announced where it differs."""
    first, second, third = Thing(), Thing(), Thing()
    presence.arrive(ANN, first, tab="a", data=1)
    presence.depart(first, "client")
    assert short(presence.arrive(ANN, second, tab="a", data=2)) == [("changed", "ann")]
    presence.depart(second, "client")
    assert presence.arrive(ANN, third, tab="a", data=2) == []


def test_the_roster_by_pattern(presence):
    """A pattern may bind any of its parts; a string is never a wildcard."""
    keys = [ANN, BRIAN, COOK, Key("other", ("lobby", "ann")), Key("default", ("lobby", "*"))]
    for key in keys:
        presence.arrive(key, Thing())

    def keys_of(*pattern):
        return {member.key for member in presence.roster(pattern)}

    assert keys_of(ANY, ANY) == set(keys)
    assert keys_of("default", ("lobby", ANY)) == {ANN, BRIAN, keys[4]}
    assert keys_of(ANY, ("lobby", ANY)) == {ANN, BRIAN, keys[3], keys[4]}
    assert keys_of(ANY, (ANY, "ann")) == {ANN, COOK, keys[3]}
    assert keys_of("default", (ANY, ANY)) == {ANN, BRIAN, COOK, keys[4]}
    assert keys_of("default", ("lobby", "*")) == {keys[4]}
    assert keys_of("nowhere", ("lobby", ANY)) == keys_of("default", ("lobby", "nobody")) == set()
    assert presence.member(ANN).key == ANN


@pytest.mark.parametrize("wrong", ["ann", LOBBY, (ANY, ANY), ("default", ("lobby", None))])
def test_a_key_is_complete(presence, wrong):
    """Every call that takes a key refuses a pattern, and what is not a valid key."""
    calls = [
        lambda: presence.arrive(wrong, Thing()),
        lambda: presence.leave(wrong),
        lambda: presence.hide(wrong),
        lambda: presence.update(wrong, 1),
        lambda: presence.member(wrong),
        lambda: presence.depart(Thing(), "client", key=wrong),
    ]
    for call in calls:
        with pytest.raises(KeyShapeError):
            call()


def test_an_unknown_reason_is_an_error(presence):
    """The error for a misspelt reason names the nearest right one."""
    with pytest.raises(ValueError, match="did you mean 'client'"):
        presence.depart(Thing(), "clinet")
    with pytest.raises(ValueError, match="a reason is one of"):
        presence.depart(Thing(), 7)


# -- bounds


def test_the_bounds_have_names():
    """Each bound is what the documentation says."""
    assert (MAX_MEMBERS, MAX_METAS, MAX_LABEL, MAX_DATA_SIZE, EXPIRE_SLICE) == (
        50_000,
        32,
        64,
        1024,
        250,
    )


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, None])
def test_max_members_is_a_count(wrong):
    """A value that is not a valid bound is refused."""
    with pytest.raises(ValueError, match="max_members"):
        Presence(max_members=wrong)


@pytest.mark.parametrize("wrong", [-1, True, "5", None, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["leave", "client", "hidden", "shutdown"])
def test_a_grace_is_a_time(name, wrong):
    """Seconds from 0; None only for shutdown, where it means never."""
    if name == "shutdown" and wrong is None:
        assert Grace(shutdown=None).wait("shutdown") is None
    else:
        with pytest.raises(ValueError, match=name):
            Grace(**{name: wrong})


@pytest.mark.parametrize(
    ("meta", "field"),
    [
        ({"tab": ""}, "tab"),
        ({"tab": "x" * 65}, "tab"),
        ({"tab": 7}, "tab"),
        ({"tab": "a\nb"}, "tab"),
        ({"device": "\ud800"}, "device"),
        ({"device": "d" * 65}, "device"),
        ({"data": "x" * 1025}, "data"),
        ({"data": {"a": "\u20ac" * 400}}, "data"),
        ({"data": {1, 2}}, "data"),
        ({"data": float("nan")}, "data"),
        ({"data": "\ud800"}, "data"),
    ],
)
def test_what_cannot_be_sent_to_the_others_is_not_kept(presence, meta, field):
    """Labels are short and printable, data is small JSON; the error names the field."""
    with pytest.raises(MetaError) as caught:
        presence.arrive(ANN, Thing(), **meta)
    assert (
        caught.value.field,
        len(presence),
        f"presence field '{field}': " in str(caught.value),
    ) == (
        field,
        0,
        True,
    )
    if field == "data":
        with pytest.raises(MetaError):
            presence.update(ANN, meta["data"])


def test_what_just_fits_is_kept(presence):
    """The bounds themselves are allowed."""
    presence.arrive(ANN, Thing(), tab="x" * 64, device="\u20ac" * 64, data="x" * 1024)
    assert len(presence) == 1


def test_full_presence_lets_go_of_members_that_are_not_here(clock):
    """An open stream goes before a wait: the member absent for longest leaves early."""
    presence = Presence(timer=clock, max_members=2)
    things = {key: Thing() for key in (ANN, BRIAN)}
    for key, thing in things.items():
        presence.arrive(key, thing)
        presence.hide(key)
        presence.depart(thing, "client")
        clock.advance(1)
    changes = presence.arrive(COOK, Thing())
    assert short(changes) == [("left", "ann", "client"), ("joined", "ann")]
    assert [change.key for change in changes] == [ANN, COOK]
    assert presence.arrive(BRIAN, Thing())[0].kind == "back"


def test_full_presence_refuses_the_newcomer_when_all_are_here(clock):
    """No connected member makes place; the error says so, and nothing has changed."""
    presence, ann = Presence(timer=clock, max_members=1), Thing()
    presence.arrive(ANN, ann)
    with pytest.raises(PresenceFullError, match=r"1 members.*store.maxsize") as caught:
        presence.arrive(BRIAN, Thing())
    assert not isinstance(caught.value, StoreError)
    assert (caught.value.max_members, caught.value.key, announced(presence)) == (1, BRIAN, ["ann"])
    assert presence.arrive(ANN, Thing()) == []


def test_presence_full_of_members_past_their_grace_takes_a_newcomer(clock):
    """Members past their grace take no place, also not from themselves."""
    presence, ann = Presence(timer=clock, max_members=1), Thing()
    presence.arrive(ANN, ann)
    presence.depart(ann, "client")
    clock.advance(5)
    assert short(presence.arrive(ANN, Thing())) == [("left", "ann", "client"), ("joined", "ann")]


def test_a_member_has_so_many_connections(presence):
    """Waits give way to streams that are open; of more than are shown, each still counts."""
    things = [Thing() for _ in range(MAX_METAS)]
    for number, thing in enumerate(things):
        presence.arrive(ANN, thing, tab=str(number))
    presence.depart(things[0], "client")
    assert presence.arrive(ANN, Thing(), tab="new") == []
    assert (len(presence.member(ANN).metas), presence.next_expiry()) == (MAX_METAS, None)
    more = [Thing() for _ in range(MAX_METAS)]
    for thing in more:
        assert presence.arrive(ANN, thing) == []
    assert [meta.tab for meta in presence.member(ANN).metas] == [
        *map(str, range(1, MAX_METAS)),
        "new",
    ]
    assert presence.connections(ANN)[-1] is more[-1]
    for thing in (*things[1:], *more[:-1]):
        assert presence.depart(thing, "revoked") == []
    assert (short(presence.hide(ANN)), here(presence)) == ([("away", "ann")], ["(ann)"])


def test_a_member_with_more_streams_than_are_shown_leaves_with_the_last_one(presence, clock):
    """Of streams that close together, the 32 with the longest grace are waited for."""
    crowd = [Thing() for _ in range(3 * MAX_METAS)]
    presence.arrive(ANN, crowd[0], tab="hidden", hidden=True)
    for number, thing in enumerate(crowd[1:]):
        presence.arrive(ANN, thing, tab=str(number))
    for thing in crowd:
        assert presence.depart(thing, "client") == []
    assert (len(presence.member(ANN).metas), len(presence._rules.waits)) == (MAX_METAS, MAX_METAS)
    assert settle(presence, clock, 5) == [("away", "ann")]
    assert settle(presence, clock, 595) == [("left", "ann", "client")]


# -- storms


def test_a_thousand_that_leave_at_once_are_announced_once_each(presence, clock):
    """In slices; no member that has left remains, announced or not."""
    things = {Key("default", ("lobby", n)): Thing() for n in range(1010)}
    for key, thing in things.items():
        presence.arrive(key, thing)
    leaving = list(things)[:1000]
    for key in leaving:
        assert presence.depart(things[key], "client") == []
    clock.advance(5)
    staying = tuple(list(things)[1000:])
    assert tuple(member.key for member in presence.roster()) == staying
    slices = []
    while presence.next_expiry() is not None and presence.next_expiry() <= clock():
        slices.append(presence.with_remaining(presence.expire()))
        assert {change.remaining for change in slices[-1]} == {staying}
    assert [len(each) for each in slices] == [250] * 4
    assert [change.key for each in slices for change in each] == leaving


def test_a_departure_that_causes_the_next_one(presence, clock):
    """A caller that acts on a change may call again: the state is consistent after every call."""
    things = {n: Thing() for n in range(500)}
    for n, thing in things.items():
        presence.arrive(Key("default", ("lobby", n)), thing)
    waiting, seen = presence.with_remaining(presence.depart(things[0], "revoked")), []
    while waiting:
        change = waiting.pop(0)
        seen.append(change.key.id)
        assert change.key not in presence
        assert len(change.remaining) == 500 - len(seen)
        changes = presence.depart(things.get(change.key.id + 1), "revoked")
        waiting += presence.with_remaining(changes)
    assert (seen, len(presence), presence.roster()) == (list(range(500)), 0, [])


def test_waits_that_are_not_needed_any_more_leave_nothing_behind(presence, clock):
    """After 5000 reloads the heap has as many entries as waits, within a bound."""
    ann = Thing()
    presence.arrive(ANN, ann, hidden=True)
    for _ in range(5000):
        presence.depart(ann, "client")
        ann = Thing()
        presence.arrive(ANN, ann, hidden=True)
    assert len(presence._rules.waits._heap) < 200
    assert (
        len(presence._rules.waits),
        len(presence._rules.open_streams),
        len(presence._rules.absent),
    ) == (0, 1, 0)
    presence.leave(ANN)
    assert presence._rules.members._groups == {}


def test_the_parts_show_what_they_are(presence):
    """Each repr is one line of state."""
    ann = Thing()
    presence.arrive(ANN, ann, tab="a")
    state = presence._rules.members.find(ANN)
    assert repr(presence) == "<Presence: 1 members, 0 of them waited for>"
    assert repr(presence._rules) == "<Rules: 1 members, 0 of them waited for>"
    assert repr(state) == "<MemberState default/lobby/ann: 1 open, 0 waited for>"
    assert repr(state.streams()[0]) == "<Stream of default/lobby/ann, tab 'a', open>"
    presence.depart(ann, "client")
    assert (
        repr(state.streams()[0]) == "<Stream of default/lobby/ann, tab 'a', waited for until 1005>"
    )
    assert (repr(Members()), repr(Waits())) == ("<Members: 0 in 0 groups>", "<0 Waits>")
    assert Stream(MemberState(ANN), None, (None, None, 0.0, None, False)).wait is None


# -- diffs


def test_changes_become_one_step():
    """The latest leave and join of each member count; one that left and joined again is in both."""

    def change(kind, key, away=False):
        return Change(kind, key, (), away, "client" if kind == "left" else None)

    step = diff(
        [
            change("left", ANN),
            change("joined", ANN),
            change("away", ANN, away=True),
            change("joined", BRIAN),
        ]
    )
    assert {key: each.kind for key, each in step.joins.items()} == {ANN: "away", BRIAN: "joined"}
    assert list(step.leaves) == [ANN]
    step = diff([change("joined", ANN), change("left", ANN)])
    assert (step.joins, list(step.leaves)) == ({}, [ANN])
    assert diff([]) == ({}, {})


# -- against a naive model


class Model:
    """The expected state, computed from all streams, without heaps and indexes.

    Each member is a list of streams ``[tab, connection or None, hidden, ends, reason]``; a stream
    that opens takes the place of a closed one of its tab.
    """

    def __init__(self, clock, grace):
        self.clock, self.grace = clock, grace
        self.streams = {}

    def prune(self, key):
        """Forget what is past its grace; returns the reason if nothing is left."""
        streams = self.streams.get(key, [])
        over = [each for each in streams if each[1] is None and each[3] <= self.clock()]
        self.streams[key] = [each for each in streams if each not in over]
        return max(over, key=lambda each: each[3])[4] if over and not self.streams[key] else None

    def arrive(self, key, tab, connection, hidden):
        self.prune(key)
        streams = self.streams.setdefault(key, [])
        if hidden is None:
            same = [] if tab is None else [each[2] for each in streams if each[0] == tab]
            hidden = bool(same) and all(same)
        old = next((each for each in streams if each[1] is None and each[0] == tab), None)
        if old is not None:
            streams.remove(old)
        streams.append([tab, connection, hidden, 0, None])

    def end(self, key, stream, reason):
        streams = self.streams[key]
        streams.remove(stream)
        if any(
            each[1] is not None and each[0] == stream[0]
            for each in streams
            if stream[0] is not None
        ):
            return
        seconds = {"client": 5, "timeout": 0, "revoked": 0, "leave": 0, "server": 5}[reason]
        if stream[2] and reason in ("client", "server", "timeout"):
            seconds = self.grace.hidden
        if seconds:
            streams.append([stream[0], None, stream[2], self.clock() + seconds, reason])

    def turn(self, key, tab, hidden):
        self.prune(key)
        for stream in list(self.streams.get(key, [])):
            if stream[0] == tab and stream[2] != hidden:
                stream[2] = hidden
                if stream[1] is None:
                    self.end(key, stream, stream[4] if hidden else "client")

    def roster(self):
        roster = {}
        for key in self.streams:
            alive = [
                each for each in self.streams[key] if each[1] is not None or each[3] > self.clock()
            ]
            if alive:
                roster[key] = not any(each[1] is not None and not each[2] for each in alive)
        return roster

    def announced(self):
        """Return what is announced of each member, once everything due has been."""
        for key in self.streams:
            self.prune(key)
        return {
            key: all(each[2] for each in streams)
            for key, streams in self.streams.items()
            if streams
        }


class Observer:
    """A client that is sent every announcement: none comes twice, and none out of order."""

    def __init__(self):
        self.members = {}
        self.departures = 0

    def hear(self, changes):
        for change in changes:
            known = change.key in self.members
            assert known is (change.kind != "joined"), change
            if change.kind == "left":
                del self.members[change.key]
                self.departures += 1
                continue
            if change.kind in ("away", "back"):
                assert self.members[change.key] is not (change.kind == "away"), change
                assert change.away is (change.kind == "away")
            self.members[change.key] = change.away


def run(script, members, expire_every_step):
    """Play a script against presence and the model, and compare them after every step."""
    clock, grace = FakeClock(), Grace(hidden=20)
    presence, model, observer = Presence(grace, timer=clock), Model(clock, grace), Observer()
    for step, (what, number, tab, dt) in enumerate(script):
        clock.advance(dt)
        key = Key("default", ("lobby", number % members))
        open_streams = [
            each for each in model.streams.get(key, []) if each[1] is not None and each[0] == tab
        ]
        if what == "open" and len(model.streams.get(key, [])) < 8:
            connection = Thing()
            hidden = (True, False, None, None, False, None, None)[number % 7]
            changes = presence.arrive(key, connection, tab=tab, hidden=hidden)
            model.arrive(key, tab, connection, hidden)
        elif what in ("client", "timeout", "revoked", "server") and open_streams:
            changes = presence.depart(open_streams[0][1], what)
            model.prune(key)
            model.end(key, open_streams[0], what)
        elif what in ("hide", "show") and tab is not None:
            changes = getattr(presence, what)(key, tab)
            model.turn(key, tab, what == "hide")
        elif what == "leave":
            changes = presence.leave(key)
            model.prune(key)
            model.streams[key] = []
        else:
            changes = []
        observer.hear(changes)
        assert {member.key: member.away for member in presence.roster()} == model.roster()
        if expire_every_step or step % 10 == 0:
            while presence.next_expiry() is not None and presence.next_expiry() <= clock():
                observer.hear(presence.expire(3))
            assert (
                {member.key: member.away for member in presence.announced()}
                == model.announced()
                == observer.members
            )
    clock.advance(1000)
    while presence.next_expiry() is not None:
        observer.hear(presence.expire())
    assert observer.members == model.announced()
    assert len(presence._rules.waits) == 0
    return observer


STEPS = st.tuples(
    st.sampled_from(
        [
            "open",
            "open",
            "client",
            "client",
            "timeout",
            "revoked",
            "server",
            "hide",
            "show",
            "leave",
        ]
    ),
    st.integers(0, 20),
    st.sampled_from(["a", "b", None]),
    st.sampled_from([0.0, 0.05, 1.0, 4.9, 5.0, 19.0]),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(STEPS, max_size=60), st.integers(1, 4), st.booleans())
def test_any_script_agrees_with_the_naive_model(script, members, expire_every_step):
    """For any order of calls the roster is exact, and each announcement comes once and in order."""
    run(script, members, expire_every_step)


@pytest.mark.parametrize("seed", range(4))
def test_long_scripts_agree_with_the_naive_model(seed):
    """The same for thousands of steps, in which waits of many members lie between each other."""
    chance = random.Random(seed)
    whats = [
        "open",
        "open",
        "open",
        "client",
        "client",
        "timeout",
        "revoked",
        "server",
        "hide",
        "show",
        "leave",
    ]
    times = [0.0, 0.0, 0.01, 0.05, 0.5, 2.0]
    script = [
        (
            chance.choice(whats),
            chance.randrange(60),
            chance.choice(["a", "b", None]),
            chance.choice(times),
        )
        for _ in range(3000)
    ]
    assert run(script, 40, expire_every_step=seed % 2 == 0).departures > 200


def test_a_thousand_members_reload_drop_and_come_back_for_minutes():
    """No reload, second tab or short drop is announced, and each long absence is, once."""
    clock, chance = FakeClock(), random.Random(7)
    presence, observer = Presence(timer=clock), Observer()
    keys = [Key("default", ("lobby", n)) for n in range(1000)]
    opened = {key: [Thing()] for key in keys}
    for key, things in opened.items():
        observer.hear(presence.arrive(key, things[0], tab="a"))
    #: Absent members: since when, and until when.
    gone = {}
    expected = 0
    for step in range(20_000):
        clock.advance(0.01)
        for key in (
            [key for key, (_, until) in gone.items() if until <= clock()] if step % 3 == 0 else ()
        ):
            since, _ = gone.pop(key)
            opened[key] = [Thing()]
            changes = presence.arrive(key, opened[key][0], tab="a")
            # No absence is near to the grace of 5 seconds; shorter ones are not announced.
            assert [change.kind for change in changes] == (
                [] if clock() - since < 5 else ["joined"]
            )
            observer.hear(changes)
        key = chance.choice(keys)
        if opened[key] and chance.random() < 0.3 and len(opened[key]) < 4:
            opened[key].append(Thing())
            assert presence.arrive(key, opened[key][-1], tab=chance.choice("bcd")) == []
        elif opened[key]:
            for connection in opened[key]:
                assert presence.depart(connection, "client") == []
            opened[key] = []
            absence = chance.choice([0.03, 0.05, 2.0, 4.0, 7.0, 30.0])
            expected += absence > 5
            gone[key] = (clock(), clock() + absence)
        observer.hear(presence.expire())
        if step % 500 == 0:
            truth = {
                key: not opened[key] for key in keys if opened[key] or clock() - gone[key][0] < 5
            }
            assert {member.key: member.away for member in presence.roster()} == truth
    # The members that are still absent stay so, also those with a shorter absence.
    expected += sum(until - since < 5 for since, until in gone.values())
    clock.advance(10)
    observer.hear(presence.expire(10_000))
    assert presence.next_expiry() is None
    assert set(observer.members) == {key for key in keys if opened[key]}
    assert observer.departures == expected > 1000


def test_a_departure_begins_its_grace_on_its_own_clock():
    """The timer may be behind for a moment; the grace is not shorter by that."""
    timer, starts = FakeClock(100.0), FakeClock(100.2)
    presence = Presence(Grace(client=5.0), timer=timer, starts=starts)
    connection = object()
    presence.arrive(("default", ("lobby", "ann")), connection)
    presence.depart(connection, "client")
    assert presence.next_expiry() == 105.2
    timer.advance(5.1)
    assert presence.expire() == []
    timer.advance(0.2)
    assert [change.kind for change in presence.expire()] == ["left"]
