"""Who is here: arrivals, departures, the grace between them, and what is announced of all that. On a clock in the hand."""

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
    Grace,
    Presence,
    Reason,
    diff,
)
from sfere_tornado.presence.roll import Roll
from sfere_tornado.presence.states import MemberState, Stream
from sfere_tornado.presence.waits import Waits
from sfere_tornado.testing import FakeClock

ANN = Key("default", ("lobby", "ann"))
BRIAN = Key("default", ("lobby", "brian"))
COOK = Key("default", ("kitchen", "ann"))
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
def room(clock):
    return Presence(timer=clock)


def short(changes):
    """Return changes as pairs of kind and id, with the reason of a departure."""
    return [
        (change.kind, change.key.id, change.reason)
        if change.kind == "left"
        else (change.kind, change.key.id)
        for change in changes
    ]


def here(room):
    """Return the ids of the exact roster, in brackets those who are away."""
    return [f"({member.key.id})" if member.away else member.key.id for member in room.roster()]


def told(room):
    """Return the ids of what was announced, in brackets those who are away."""
    return [f"({member.key.id})" if member.away else member.key.id for member in room.announced()]


def settle(room, clock, seconds):
    """Let time pass, and return what is due then."""
    clock.advance(seconds)
    return short(room.expire())


# -- joining and leaving


def test_the_first_connection_joins_and_the_last_departure_leaves_after_the_grace(room, clock):
    """A closed stream is waited for 5 seconds: the roster says away at once, the others are told left after that."""
    ann, brian = Thing(), Thing()
    assert short(room.arrive(ANN, ann)) == [("joined", "ann")]
    assert short(room.arrive(BRIAN, brian)) == [("joined", "brian")]
    assert room.depart(brian, "client") == []
    assert (here(room), told(room), len(room)) == (["ann", "(brian)"], ["ann", "brian"], 2)
    assert room.next_expiry() == clock() + 5
    assert settle(room, clock, 4.999) == []
    [left] = [*room.expire(), *(clock.advance(0.001) or room.expire())]
    assert left[:2] == ("left", BRIAN)
    assert (left.reason, left.remaining) == ("client", (ANN,))
    assert (here(room), told(room), room.next_expiry()) == (["ann"], ["ann"], None)
    assert settle(room, clock, 1000) == []
    assert repr(room) == "<Presence: 1 members, 0 of them waited for>"


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
def test_each_reason_has_its_grace(room, clock, reason, seconds):
    """What has waited already, or will not come back, is announced at once; what may be a reload waits."""
    ann = Thing()
    room.arrive(ANN, ann)
    changes = short(room.depart(ann, reason))
    if seconds:
        assert (changes, settle(room, clock, seconds - 0.001)) == ([], [])
        changes = settle(room, clock, 0.001)
    assert changes == [("left", "ann", reason)]
    assert (here(room), len(room)) == ([], 0)


def test_a_process_that_stops_announces_nobody(room, clock):
    """The clients of a drain go elsewhere: they are gone from the roster, and nobody is told, ever."""
    ann = Thing()
    room.arrive(ANN, ann)
    assert room.depart(ann, "shutdown") == []
    assert (here(room), told(room), settle(room, clock, 1e6)) == ([], [], [])


def test_a_stop_can_be_given_a_grace(clock):
    """Where the grace of shutdown is a time, a departure for that reason waits like another."""
    room, ann = Presence(Grace(shutdown=60), timer=clock), Thing()
    room.arrive(ANN, ann)
    assert room.depart(ann, "shutdown") == []
    assert settle(room, clock, 60) == [("left", "ann", "shutdown")]


def test_every_reason_of_a_connection_is_known():
    """The room knows each reason for which a connection closes, and one more: the member said so."""
    assert set(get_args(Reason)) == {*get_args(reasons.Reason), "leave"}
    for reason in get_args(Reason):
        Grace().wait(reason)


def test_a_category_has_its_own_grace(clock):
    """What is set for a category counts for its keys only."""
    room = Presence(Grace(client=1), categories={"kitchen": Grace(client=9)}, timer=clock)
    things = {key: Thing() for key in (ANN, COOK)}
    for key, thing in things.items():
        room.arrive(key, thing)
    for thing in things.values():
        room.depart(thing, "client")
    clock.advance(1)
    assert [change.key for change in room.expire()] == [ANN]
    assert room.roster() == room.roster(("default", ("kitchen", "ann")))
    clock.advance(8)
    assert [change.key for change in room.expire()] == [COOK]


def test_a_return_within_the_grace_is_silent(room, clock):
    """A reload is a departure and an arrival: nobody is told of either, also when the clock is late."""
    first, second = Thing(), Thing()
    room.arrive(ANN, first)
    room.depart(first, "client")
    clock.advance(4.9)
    assert room.arrive(ANN, second) == []
    assert (here(room), settle(room, clock, 100)) == (["ann"], [])


def test_a_return_after_the_grace_is_a_departure_and_an_arrival(room, clock):
    """Past its grace is gone, also when nobody has called expire: left comes first, without the newcomer among the rest."""
    first, second = Thing(), Thing()
    room.arrive(BRIAN, Thing())
    room.arrive(ANN, first)
    room.depart(first, "client")
    clock.advance(5)
    assert (here(room), told(room), ANN in room, room.member(ANN)) == (
        ["brian"],
        ["brian", "ann"],
        False,
        None,
    )
    left, joined = room.arrive(ANN, second)
    assert (left.kind, left.reason, left.remaining, joined.kind) == (
        "left",
        "client",
        (BRIAN,),
        "joined",
    )
    assert room.expire() == []


def test_two_tabs_are_one_member(room, clock):
    """The second tab joins nobody, and only the last one's departure counts."""
    first, second = Thing(), Thing()
    assert short(room.arrive(ANN, first, tab="a")) == [("joined", "ann")]
    assert room.arrive(ANN, second, tab="b") == []
    assert room.depart(first, "revoked") == []
    assert settle(room, clock, 100) == []
    assert short(room.depart(second, "revoked")) == [("left", "ann", "revoked")]


def test_one_tab_reloads_while_another_is_refused(room, clock):
    """The wait for one tab outlasts the end of another, whatever that one's reason is."""
    first, second, third = Thing(), Thing(), Thing()
    room.arrive(ANN, first, tab="a")
    room.arrive(ANN, second, tab="b")
    room.depart(first, "client")
    clock.advance(1)
    assert room.depart(second, "timeout") == []
    clock.advance(1)
    assert room.arrive(ANN, third, tab="a") == []
    assert short(room.depart(third, "revoked")) == [("left", "ann", "revoked")]


def test_the_reason_is_that_of_the_tab_that_was_waited_for_longest(clock):
    """Of several waits that are found to be over at once, the last one to end says why the member has left."""
    room, first, second = Presence(Grace(slow=9), timer=clock), Thing(), Thing()
    room.arrive(ANN, first, tab="a")
    room.arrive(ANN, second, tab="b")
    room.depart(first, "client")
    room.depart(second, "slow")
    assert settle(room, clock, 100) == [("left", "ann", "slow")]


def test_a_departure_is_told_once(room):
    """A connection that has departed, or never arrived, changes nothing."""
    ann = Thing()
    room.arrive(ANN, ann)
    assert len(room.depart(ann, "timeout")) == 1
    assert (
        room.depart(ann, "timeout"),
        room.depart(Thing(), "client"),
        room.depart(None, "error"),
    ) == ([], [], [])


def test_a_connection_arrives_once(room):
    """Storing it again under the same key changes nothing, and says nothing."""
    ann = Thing()
    room.arrive(ANN, ann, tab="a")
    assert room.arrive(ANN, ann, tab="b") == []
    assert [meta.tab for meta in room.member(ANN).metas] == ["a"]
    assert (room.is_open(ANN, ann), room.is_open(ANN, Thing()), room.is_open(BRIAN, ann)) == (
        True,
        False,
        False,
    )


def test_a_connection_departs_from_all_its_keys(room):
    """One stream may make its client a member in several places; it leaves them together, or one of them alone."""
    ann = Thing()
    room.arrive(ANN, ann)
    room.arrive(COOK, ann)
    room.arrive(BRIAN, ann)
    assert [change.key for change in room.depart(ann, "timeout", key=BRIAN)] == [BRIAN]
    assert [change.key for change in room.depart(ann, "timeout")] == [ANN, COOK]


def test_who_remains_is_of_the_same_scope_and_category(room):
    """Those who are told, and named as remaining, are in the same place; also those who only are away."""
    for scope in ("default", "other"):
        room.arrive(Key(scope, ("lobby", "brian")), Thing())
    room.arrive(COOK, Thing())
    away, ann = Thing(), Thing()
    room.arrive(Key("default", ("lobby", "away")), away)
    room.depart(away, "client")
    room.arrive(ANN, ann)
    [left] = room.depart(ann, "revoked")
    assert left.remaining == (BRIAN, ("default", ("lobby", "away")))


# -- leaving on purpose


def test_leaving_is_told_at_once(room):
    """A member that says so has left, with all of its tabs; what closes afterwards changes nothing."""
    tabs = [Thing(), Thing()]
    for tab in tabs:
        room.arrive(ANN, tab)
    assert room.connections(ANN) == tabs
    assert short(room.leave(ANN)) == [("left", "ann", "leave")]
    assert (room.leave(ANN), room.depart(tabs[0], "client"), here(room), room.connections(ANN)) == (
        [],
        [],
        [],
        [],
    )


def test_leaving_ends_a_wait(room):
    """A killed browser whose last word arrives after all has left at once, and only once."""
    ann = Thing()
    room.arrive(ANN, ann)
    room.depart(ann, "client")
    assert short(room.leave(ANN)) == [("left", "ann", "leave")]
    assert room.next_expiry() is None


def test_a_tab_may_leave_alone(room, clock):
    """Who leaves one of two tabs has not left; who then leaves the other one has."""
    tabs = {name: Thing() for name in "ab"}
    for name, thing in tabs.items():
        room.arrive(ANN, thing, tab=name)
    assert room.connections(ANN, "a") == [tabs["a"]]
    assert (room.leave(ANN, "a"), room.leave(ANN, "nothing")) == ([], [])
    assert short(room.leave(ANN, "b")) == [("left", "ann", "leave")]


def test_leaving_may_have_a_grace_too(clock):
    """With a grace of its own, a leave that turns out to be a reload is silent."""
    room = Presence(Grace(leave=2), timer=clock)
    for second in (1.9, 2):
        ann = Thing()
        room.arrive(ANN, ann)
        assert room.leave(ANN) == []
        clock.advance(second)
    assert short(room.expire()) == [("left", "ann", "leave")]


# -- away and back


def test_a_hidden_tab_is_away_at_once_and_left_after_the_longer_grace(room, clock):
    """Some clients close the stream of a hidden tab: it is away for ten minutes, and left after them."""
    ann = Thing()
    room.arrive(ANN, ann, tab="a")
    assert short(room.hide(ANN, "a")) == [("away", "ann")]
    assert (room.hide(ANN, "a"), here(room), told(room)) == ([], ["(ann)"], ["(ann)"])
    assert room.depart(ann, "client") == []
    assert settle(room, clock, 599) == []
    assert settle(room, clock, 1) == [("left", "ann", "client")]


def test_it_may_close_before_it_says_that_it_is_hidden(room, clock):
    """The two take different ways: whichever comes first, the wait is the longer one, and away is told once."""
    ann = Thing()
    room.arrive(ANN, ann, tab="a")
    room.depart(ann, "client")
    clock.advance(1)
    assert short(room.hide(ANN, "a")) == [("away", "ann")]
    assert settle(room, clock, 599.9) == []
    assert settle(room, clock, 0.1) == [("left", "ann", "client")]


def test_a_hidden_tab_comes_back(room, clock):
    """Its stream opens again, and it says that it is visible: back is told, and nothing else."""
    first, second = Thing(), Thing()
    room.arrive(ANN, first, tab="a")
    room.hide(ANN, "a")
    room.depart(first, "client")
    clock.advance(500)
    assert short(room.arrive(ANN, second, tab="a", hidden=False)) == [("back", "ann")]
    assert (here(room), told(room), settle(room, clock, 1000)) == (["ann"], ["ann"], [])


def test_a_hidden_tab_whose_stream_breaks_stays_hidden(room, clock):
    """A stream opens again by itself, also where nobody looks: nothing is told before the tab says that it is visible."""
    things = [Thing() for _ in range(3)]
    room.arrive(ANN, things[0], tab="a")
    room.hide(ANN, "a")
    room.depart(things[0], "client")
    assert (room.arrive(ANN, things[1], tab="a"), here(room)) == ([], ["(ann)"])
    # Also where the end of the old one is noticed only afterwards.
    assert (
        room.arrive(ANN, things[2], tab="a"),
        room.depart(things[1], "timeout"),
        here(room),
    ) == ([], [], ["(ann)"])
    assert short(room.show(ANN, "a")) == [("back", "ann")]


def test_hidden_or_not_is_what_is_known_of_the_same_tab(room):
    """Another tab, one without an id, and a tab that was visible, open as visible ones; no tab is hidden before it says so."""
    for tab, others in (("a", "b"), (None, None)):
        room.arrive(ANN, Thing(), tab=tab)
        room.hide(ANN)
        assert short(room.arrive(ANN, Thing(), tab=others)) == [("back", "ann")]
        room.leave(ANN)
    first = Thing()
    room.arrive(ANN, first, tab="a")
    room.hide(ANN, "a")
    room.show(ANN, "a")
    room.depart(first, "client")
    assert (room.arrive(ANN, Thing(), tab="a"), here(room)) == ([], ["ann"])


def test_a_hidden_tab_says_that_it_is_visible_before_its_stream_opens(room, clock):
    """It is back at once, and its stream is waited for like that of a reload, also where its own grace is over."""
    ann, again = Thing(), Thing()
    room.arrive(ANN, ann, tab="a")
    room.hide(ANN, "a")
    room.depart(ann, "timeout")
    clock.advance(100)
    assert short(room.show(ANN, "a")) == [("back", "ann")]
    assert room.show(ANN, "a") == []
    clock.advance(4)
    assert room.arrive(ANN, again, tab="a") == []
    room.depart(again, "client")
    assert settle(room, clock, 5) == [("left", "ann", "client")]


def test_whoever_is_hidden_and_does_not_come_back_after_showing_has_left(room, clock):
    """A page that was looked at, and whose stream did not open, is waited for no longer than a reload."""
    ann = Thing()
    room.arrive(ANN, ann)
    room.hide(ANN)
    room.depart(ann, "client")
    room.show(ANN)
    assert settle(room, clock, 5) == [("left", "ann", "client")]


def test_where_a_reload_has_no_grace_showing_without_a_stream_is_leaving(clock):
    """The rules hold for every grace: 0 is at once, also here."""
    room, ann = Presence(Grace(client=0), timer=clock), Thing()
    room.arrive(ANN, ann)
    room.hide(ANN)
    room.depart(ann, "client")
    [left] = room.show(ANN)
    assert (left.kind, left.reason, len(left.metas)) == ("left", "client", 1)


def test_one_visible_tab_is_enough(room):
    """A member is away when none of its tabs is visible, and back with the first that is."""
    for name in "ab":
        room.arrive(ANN, Thing(), tab=name)
    assert room.hide(ANN, "a") == []
    assert short(room.hide(ANN, "b")) == [("away", "ann")]
    assert short(room.show(ANN, "a")) == [("back", "ann")]


def test_a_visible_tab_that_reloads_beside_a_hidden_one_flaps_nothing(room, clock):
    """While it is waited for nobody is told that the member is away; when it does not come back, they are."""
    first, second = Thing(), Thing()
    room.arrive(ANN, first, tab="a")
    room.arrive(ANN, Thing(), tab="b", hidden=True)
    room.depart(first, "client")
    assert (here(room), told(room)) == (["(ann)"], ["ann"])
    clock.advance(1)
    assert room.arrive(ANN, second, tab="a") == []
    room.depart(second, "client")
    assert settle(room, clock, 5) == [("away", "ann")]
    assert settle(room, clock, 1000) == []


def test_a_tab_may_arrive_hidden(room):
    """A page that opens in the background joins as away; one that a hidden tab reopens stays away."""
    ann = Thing()
    [joined] = room.arrive(ANN, ann, tab="a", hidden=True)
    assert (joined.kind, joined.away, here(room)) == ("joined", True, ["(ann)"])
    room.depart(ann, "slow")
    assert room.arrive(ANN, Thing(), tab="a", hidden=True) == []


@pytest.mark.parametrize("reason", ["leave", "expired", "replaced", "revoked"])
def test_hidden_or_not_what_does_not_come_back_is_not_waited_for(room, reason):
    """The longer grace is for those who may come back."""
    ann = Thing()
    room.arrive(ANN, ann, hidden=True)
    assert short(room.depart(ann, reason)) == [("left", "ann", reason)]


def test_hidden_or_not_a_stop_is_not_announced(room, clock):
    """The longer grace does not make a drain speak."""
    ann = Thing()
    room.arrive(ANN, ann, hidden=True)
    assert (room.depart(ann, "shutdown"), settle(room, clock, 1e6)) == ([], [])


def test_hiding_nobody_is_harmless(room):
    """A word of one who is not here, or of an unknown tab, changes nothing."""
    room.arrive(ANN, Thing(), tab="a")
    assert (room.hide(BRIAN), room.show(BRIAN), room.hide(ANN, "b"), room.update(BRIAN, 1)) == (
        [],
        [],
        [],
        [],
    )


# -- what is known of each


def test_the_metas_say_what_is_known_of_each_connection(room, clock):
    """Tab, device, since when, the application's data, and whether it is away; a reload keeps since and data."""
    first, second, phone = Thing(), Thing(), Thing()
    [joined] = room.arrive(ANN, first, tab="a", device="laptop", data={"colour": "red"})
    began = clock()
    assert joined.metas == (("a", "laptop", began, {"colour": "red"}, False),)
    clock.advance(1)
    room.depart(first, "client")
    assert room.member(ANN).metas == (("a", "laptop", began, {"colour": "red"}, True),)
    assert room.arrive(ANN, second, tab="a", device="laptop") == []
    room.arrive(ANN, phone, tab="p", device="phone", hidden=True)
    assert room.member(ANN).metas == (
        ("a", "laptop", began, {"colour": "red"}, False),
        ("p", "phone", began + 1, None, True),
    )


def test_a_stream_without_a_tab_continues_the_one_that_closed_first(room, clock):
    """Clients without tab ids come back one for one: two that were cut are two that are waited for."""
    things = [Thing() for _ in range(2)]
    for number, thing in enumerate(things):
        room.arrive(ANN, thing, data=number)
    for thing in things:
        room.depart(thing, "client")
    for _ in things:
        room.arrive(ANN, Thing())
    assert [meta.data for meta in room.member(ANN).metas] == [0, 1]
    assert settle(room, clock, 100) == []


def test_a_duplicated_tab_counts_twice_and_is_shown_once(room, clock):
    """A browser copies a tab's id with the tab: its end is not the end of the original, and nobody waits for it."""
    original, copy = Thing(), Thing()
    room.arrive(ANN, original, tab="a")
    room.arrive(ANN, copy, tab="a")
    assert len(room.member(ANN).metas) == 1
    assert (room.depart(copy, "client"), room.next_expiry()) == ([], None)
    assert (room.depart(original, "client"), settle(room, clock, 5)) == (
        [],
        [("left", "ann", "client")],
    )


def test_an_old_stream_that_is_noticed_late_costs_nothing(room, clock):
    """A reload whose old stream nobody saw closing: when it times out, the tab is here through the new one."""
    old, new = Thing(), Thing()
    room.arrive(ANN, old, tab="a")
    room.arrive(ANN, new, tab="a")
    clock.advance(30)
    assert (room.depart(old, "timeout"), here(room), room.next_expiry()) == ([], ["ann"], None)


def test_data_can_be_changed_and_the_change_is_told_once(room):
    """Other data is told, the same is not; it may be for one tab only."""
    room.arrive(ANN, Thing(), tab="a", data=1)
    room.arrive(ANN, Thing(), tab="b", data=1)
    [changed] = room.update(ANN, 2, tab="b")
    assert (changed.kind, [meta.data for meta in changed.metas], changed.reason) == (
        "changed",
        [1, 2],
        None,
    )
    assert short(room.update(ANN, 2)) == [("changed", "ann")]
    assert room.update(ANN, 2) == []


def test_a_reload_with_other_data_is_a_change(room):
    """What a page says of itself when it comes back counts, and only where it differs."""
    first, second, third = Thing(), Thing(), Thing()
    room.arrive(ANN, first, tab="a", data=1)
    room.depart(first, "client")
    assert short(room.arrive(ANN, second, tab="a", data=2)) == [("changed", "ann")]
    room.depart(second, "client")
    assert room.arrive(ANN, third, tab="a", data=2) == []


def test_the_roster_by_pattern(room):
    """A pattern gives those who match, whichever parts it binds; no string is a wildcard."""
    keys = [ANN, BRIAN, COOK, Key("other", ("lobby", "ann")), Key("default", ("lobby", "*"))]
    for key in keys:
        room.arrive(key, Thing())

    def found(*pattern):
        return {member.key for member in room.roster(pattern)}

    assert found(ANY, ANY) == set(keys)
    assert found("default", ("lobby", ANY)) == {ANN, BRIAN, keys[4]}
    assert found(ANY, ("lobby", ANY)) == {ANN, BRIAN, keys[3], keys[4]}
    assert found(ANY, (ANY, "ann")) == {ANN, COOK, keys[3]}
    assert found("default", (ANY, ANY)) == {ANN, BRIAN, COOK, keys[4]}
    assert found("default", ("lobby", "*")) == {keys[4]}
    assert found("nowhere", ("lobby", ANY)) == found("default", ("lobby", "nobody")) == set()
    assert room.member(ANN).key == ANN


@pytest.mark.parametrize("wrong", ["ann", LOBBY, (ANY, ANY), ("default", ("lobby", None))])
def test_a_key_is_complete(room, wrong):
    """What is no key, or a pattern, is refused by every call that takes one."""
    calls = [
        lambda: room.arrive(wrong, Thing()),
        lambda: room.leave(wrong),
        lambda: room.hide(wrong),
        lambda: room.update(wrong, 1),
        lambda: room.member(wrong),
        lambda: room.depart(Thing(), "client", key=wrong),
    ]
    for call in calls:
        with pytest.raises(KeyShapeError):
            call()


def test_an_unknown_reason_is_an_error(room):
    """A misspelt reason is told with the nearest right one."""
    with pytest.raises(ValueError, match="did you mean 'client'"):
        room.depart(Thing(), "clinet")
    with pytest.raises(ValueError, match="a reason is one of"):
        room.depart(Thing(), 7)


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
    """A bound that is none is refused."""
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
def test_what_cannot_be_sent_to_the_others_is_not_kept(room, meta, field):
    """Labels are short and printable, data is JSON and small; otherwise nobody arrives, and the error names the part."""
    with pytest.raises(MetaError) as caught:
        room.arrive(ANN, Thing(), **meta)
    assert (caught.value.field, len(room), f"presence field '{field}': " in str(caught.value)) == (
        field,
        0,
        True,
    )
    if field == "data":
        with pytest.raises(MetaError):
            room.update(ANN, meta["data"])


def test_what_just_fits_is_kept(room):
    """The bounds themselves are allowed."""
    room.arrive(ANN, Thing(), tab="x" * 64, device="\u20ac" * 64, data="x" * 1024)
    assert len(room) == 1


def test_a_full_room_lets_go_of_those_who_are_not_here(clock):
    """An open stream matters more than a wait: the one that has been gone for longest is let go at once."""
    room = Presence(timer=clock, max_members=2)
    things = {key: Thing() for key in (ANN, BRIAN)}
    for key, thing in things.items():
        room.arrive(key, thing)
        room.hide(key)
        room.depart(thing, "client")
        clock.advance(1)
    changes = room.arrive(COOK, Thing())
    assert short(changes) == [("left", "ann", "client"), ("joined", "ann")]
    assert [change.key for change in changes] == [ANN, COOK]
    assert room.arrive(BRIAN, Thing())[0].kind == "back"


def test_a_full_room_refuses_the_newcomer_when_all_are_here(clock):
    """Nobody who is connected is put out; the error says so, and nothing has changed."""
    room, ann = Presence(timer=clock, max_members=1), Thing()
    room.arrive(ANN, ann)
    with pytest.raises(PresenceFullError, match=r"1 members.*store.maxsize") as caught:
        room.arrive(BRIAN, Thing())
    assert not isinstance(caught.value, StoreError)
    assert (caught.value.max_members, caught.value.key, told(room)) == (1, BRIAN, ["ann"])
    assert room.arrive(ANN, Thing()) == []


def test_a_room_full_of_people_whose_grace_is_over_takes_a_newcomer(clock):
    """Those who are gone do not stand in the way, also of themselves."""
    room, ann = Presence(timer=clock, max_members=1), Thing()
    room.arrive(ANN, ann)
    room.depart(ann, "client")
    clock.advance(5)
    assert short(room.arrive(ANN, Thing())) == [("left", "ann", "client"), ("joined", "ann")]


def test_a_member_has_so_many_connections(room):
    """Waits give way to streams that are open; of more than are shown, each still counts."""
    things = [Thing() for _ in range(MAX_METAS)]
    for number, thing in enumerate(things):
        room.arrive(ANN, thing, tab=str(number))
    room.depart(things[0], "client")
    assert room.arrive(ANN, Thing(), tab="new") == []
    assert (len(room.member(ANN).metas), room.next_expiry()) == (MAX_METAS, None)
    more = [Thing() for _ in range(MAX_METAS)]
    for thing in more:
        assert room.arrive(ANN, thing) == []
    assert [meta.tab for meta in room.member(ANN).metas] == [*map(str, range(1, MAX_METAS)), "new"]
    assert room.connections(ANN)[-1] is more[-1]
    for thing in (*things[1:], *more[:-1]):
        assert room.depart(thing, "revoked") == []
    assert (short(room.hide(ANN)), here(room)) == ([("away", "ann")], ["(ann)"])


def test_a_member_with_more_streams_than_are_shown_leaves_with_the_last_one(room, clock):
    """Of those that close at once, as many are waited for as are shown, those with the longest grace: it is told once."""
    crowd = [Thing() for _ in range(3 * MAX_METAS)]
    room.arrive(ANN, crowd[0], tab="hidden", hidden=True)
    for number, thing in enumerate(crowd[1:]):
        room.arrive(ANN, thing, tab=str(number))
    for thing in crowd:
        assert room.depart(thing, "client") == []
    assert (len(room.member(ANN).metas), len(room._rules.waits)) == (MAX_METAS, MAX_METAS)
    assert settle(room, clock, 5) == [("away", "ann")]
    assert settle(room, clock, 595) == [("left", "ann", "client")]


# -- storms


def test_a_thousand_who_leave_at_once_are_announced_once_each(room, clock):
    """In slices, each with who remains: nobody who has gone too, told or not; nobody is lost, nobody told twice."""
    things = {Key("default", ("lobby", n)): Thing() for n in range(1010)}
    for key, thing in things.items():
        room.arrive(key, thing)
    leaving = list(things)[:1000]
    for key in leaving:
        assert room.depart(things[key], "client") == []
    clock.advance(5)
    staying = tuple(list(things)[1000:])
    assert tuple(member.key for member in room.roster()) == staying
    slices = []
    while room.next_expiry() is not None and room.next_expiry() <= clock():
        slices.append(room.expire())
        assert {change.remaining for change in slices[-1]} == {staying}
    assert [len(each) for each in slices] == [250] * 4
    assert [change.key for each in slices for change in each] == leaving


def test_a_departure_that_causes_the_next_one(room, clock):
    """Whoever acts on a change may call the room again: it is whole after every call, however deep the chain."""
    things = {n: Thing() for n in range(500)}
    for n, thing in things.items():
        room.arrive(Key("default", ("lobby", n)), thing)
    waiting, seen = list(room.depart(things[0], "revoked")), []
    while waiting:
        change = waiting.pop(0)
        seen.append(change.key.id)
        assert change.key not in room
        assert len(change.remaining) == 500 - len(seen)
        waiting += room.depart(things.get(change.key.id + 1), "revoked")
    assert (seen, len(room), room.roster()) == (list(range(500)), 0, [])


def test_waits_that_are_not_needed_any_more_leave_nothing_behind(room, clock):
    """A reload every second, for a day: as many places as waits, within a bound."""
    ann = Thing()
    room.arrive(ANN, ann, hidden=True)
    for _ in range(5000):
        room.depart(ann, "client")
        ann = Thing()
        room.arrive(ANN, ann, hidden=True)
    assert len(room._rules.waits._heap) < 200
    assert (len(room._rules.waits), len(room._rules.held), len(room._rules.absent)) == (0, 1, 0)
    room.leave(ANN)
    assert room._rules.roll._groups == {}


def test_the_parts_show_what_they_are(room):
    """Everything says in one line what it holds."""
    ann = Thing()
    room.arrive(ANN, ann, tab="a")
    state = room._rules.roll.find(ANN)
    assert repr(room) == "<Presence: 1 members, 0 of them waited for>"
    assert repr(room._rules) == "<Rules: 1 members, 0 of them waited for>"
    assert repr(state) == "<MemberState default/lobby/ann: 1 open, 0 waited for>"
    assert repr(state.streams()[0]) == "<Stream of default/lobby/ann, tab 'a', open>"
    room.depart(ann, "client")
    assert (
        repr(state.streams()[0]) == "<Stream of default/lobby/ann, tab 'a', waited for until 1005>"
    )
    assert (repr(Roll()), repr(Waits())) == ("<Roll of 0 members in 0 groups>", "<0 Waits>")
    assert Stream(MemberState(ANN), None, (None, None, 0.0, None, False)).place is None


# -- diffs


def test_changes_become_one_step():
    """Leaves are taken out, then joins put in: the latest of each counts, and who left and joined again is in both."""

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
    """What should be so, computed from the whole past, without heaps and indexes.

    Each member is a list of streams ``[tab, connection or None, hidden, ends, reason]``; a stream that opens takes the
    place of a closed one of its tab.
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
        found = {}
        for key in self.streams:
            alive = [
                each for each in self.streams[key] if each[1] is not None or each[3] > self.clock()
            ]
            if alive:
                found[key] = not any(each[1] is not None and not each[2] for each in alive)
        return found

    def announced(self):
        """Return who should be known to the others, once everything due has been announced."""
        for key in self.streams:
            self.prune(key)
        return {
            key: all(each[2] for each in streams)
            for key, streams in self.streams.items()
            if streams
        }


class Observer:
    """One who hears every announcement: none may come twice, none out of place."""

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
    """Play a script against room and model, comparing after every step; returns the observer."""
    clock, grace = FakeClock(), Grace(hidden=20)
    room, model, observer = Presence(grace, timer=clock), Model(clock, grace), Observer()
    for step, (what, number, tab, dt) in enumerate(script):
        clock.advance(dt)
        key = Key("default", ("lobby", number % members))
        open_streams = [
            each for each in model.streams.get(key, []) if each[1] is not None and each[0] == tab
        ]
        if what == "open" and len(model.streams.get(key, [])) < 8:
            connection = Thing()
            hidden = (True, False, None, None, False, None, None)[number % 7]
            changes = room.arrive(key, connection, tab=tab, hidden=hidden)
            model.arrive(key, tab, connection, hidden)
        elif what in ("client", "timeout", "revoked", "server") and open_streams:
            changes = room.depart(open_streams[0][1], what)
            model.prune(key)
            model.end(key, open_streams[0], what)
        elif what in ("hide", "show") and tab is not None:
            changes = getattr(room, what)(key, tab)
            model.turn(key, tab, what == "hide")
        elif what == "leave":
            changes = room.leave(key)
            model.prune(key)
            model.streams[key] = []
        else:
            changes = []
        observer.hear(changes)
        assert {member.key: member.away for member in room.roster()} == model.roster()
        if expire_every_step or step % 10 == 0:
            while room.next_expiry() is not None and room.next_expiry() <= clock():
                observer.hear(room.expire(3))
            assert (
                {member.key: member.away for member in room.announced()}
                == model.announced()
                == observer.members
            )
    clock.advance(1000)
    while room.next_expiry() is not None:
        observer.hear(room.expire())
    assert observer.members == model.announced()
    assert len(room._rules.waits) == 0
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
    """Whatever happens in whatever order: the roster is the truth, and each announcement is told once and in its place."""
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
    """Reloads, second tabs, drops inside and outside the grace, a thousand members: no flap, every departure once."""
    clock, chance = FakeClock(), random.Random(7)
    room, observer = Presence(timer=clock), Observer()
    keys = [Key("default", ("lobby", n)) for n in range(1000)]
    opened = {key: [Thing()] for key in keys}
    for key, things in opened.items():
        observer.hear(room.arrive(key, things[0], tab="a"))
    #: Who is gone: since when, and until when.
    gone = {}
    expected = 0
    for step in range(20_000):
        clock.advance(0.01)
        for key in (
            [key for key, (_, until) in gone.items() if until <= clock()] if step % 3 == 0 else ()
        ):
            since, _ = gone.pop(key)
            opened[key] = [Thing()]
            changes = room.arrive(key, opened[key][0], tab="a")
            # No absence is near to the grace of 5 seconds: within it nothing is told, after it everything is.
            assert [change.kind for change in changes] == (
                [] if clock() - since < 5 else ["joined"]
            )
            observer.hear(changes)
        key = chance.choice(keys)
        if opened[key] and chance.random() < 0.3 and len(opened[key]) < 4:
            opened[key].append(Thing())
            assert room.arrive(key, opened[key][-1], tab=chance.choice("bcd")) == []
        elif opened[key]:
            for connection in opened[key]:
                assert room.depart(connection, "client") == []
            opened[key] = []
            absence = chance.choice([0.03, 0.05, 2.0, 4.0, 7.0, 30.0])
            expected += absence > 5
            gone[key] = (clock(), clock() + absence)
        observer.hear(room.expire())
        if step % 500 == 0:
            truth = {
                key: not opened[key] for key in keys if opened[key] or clock() - gone[key][0] < 5
            }
            assert {member.key: member.away for member in room.roster()} == truth
    # Those who are still gone do not come back any more, also those who wanted to.
    expected += sum(until - since < 5 for since, until in gone.values())
    clock.advance(10)
    observer.hear(room.expire(10_000))
    assert room.next_expiry() is None
    assert set(observer.members) == {key for key in keys if opened[key]}
    assert observer.departures == expected > 1000
