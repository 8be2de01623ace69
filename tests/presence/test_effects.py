"""Presence in a dispatch: it follows the store, newcomers get the state, the others each change once."""

import asyncio
import json
import logging
import random

import pytest
from support.members import LOBBY, House, key

from sfere_tornado import MemoryStore, Registry, broadcast, send
from sfere_tornado.errors import KeyShapeError, NoConnectionError, PresenceFullError
from sfere_tornado.presence import MAX_METAS, Grace, Presence
from sfere_tornado.presence import events as presence_events
from sfere_tornado.presence.announcer import Announcer
from sfere_tornado.presence.effects import (
    hide,
    leave,
    presence_state,
    show,
    update_meta,
)
from sfere_tornado.presence.feed import PresenceFeed
from sfere_tornado.testing import FakeClock
from sfere_tornado.testing.recording import recording_connection

# -- coming and going


def test_a_newcomer_gets_the_state_and_the_others_the_diff():
    """State first, to the newcomer alone, itself in it; the others read that it joined; then everybody reads the same."""
    house = House()
    ann = house.enter("ann", tab="a", device="laptop", data={"colour": "red"})
    house.clock.advance(7)
    brian = house.enter("brian")
    me = {
        "away": False,
        "metas": [
            {"tab": "a", "device": "laptop", "since": 0.0, "data": {"colour": "red"}, "away": False}
        ],
    }
    other = {
        "away": False,
        "metas": [{"tab": None, "device": None, "since": 7.0, "data": None, "away": False}],
    }
    assert ann.events() == [
        (
            "presence_state",
            {"now": 0.0, "members": {"ann": me}, "part": 1, "parts": 1, "omitted": 0},
        ),
        ("presence_diff", {"now": 7.0, "joins": {"brian": other}, "leaves": {}}),
    ]
    both = {"now": 7.0, "members": {"ann": me, "brian": other}, "part": 1, "parts": 1, "omitted": 0}
    assert brian.events() == [("presence_state", both)]
    assert house.kinds() == [("joined", "ann"), ("joined", "brian")]


def test_a_departure_is_told_after_the_grace():
    """The store lets go at once, the others read "left" when the grace is over: once, with reason and who remains."""
    house = House()
    ann, brian = house.enter("ann"), house.enter("brian")
    brian.transport.leave()
    assert (house.store.keys(), house.presence.member(key("brian")).away) == ([key("ann")], True)
    house.expire(4.9)
    assert ann.roster() == {"ann": False, "brian": False}
    house.expire(0.1)
    house.expire(100)
    assert ann.roster() == {"ann": False}
    name, data = ann.events()[-1]
    assert (name, data["leaves"]["brian"]["reason"]) == ("presence_diff", "client")
    assert house.changes[-1].remaining == (key("ann"),)
    assert house.kinds()[2:] == [("left", "brian")]


def test_who_remains_is_listed_for_callbacks_only():
    """Without a callback no call copies the keys of a category; with one, each call does so once."""

    class Counting(Presence):
        listed = 0

        def with_remaining(self, changes):
            self.listed += 1
            return super().with_remaining(changes)

    for callbacks in ([], [lambda change: None, lambda change: None]):
        presence, store = Counting(timer=FakeClock()), MemoryStore()
        feed = PresenceFeed(presence, store, lambda effects: None, Announcer(presence, store))
        for callback in callbacks:
            feed.add_callback(callback)
        for name in ("ann", "brian"):
            connection, _ = recording_connection()
            store.put(key(name), connection)
            feed.arrive(key(name), connection, {})
        connection.end("revoked")
        feed.depart(connection)
        assert presence.listed == (3 if callbacks else 0)


def test_a_reload_and_a_second_tab_leave_no_trace():
    """The others read nothing; the stream that opened gets the state, for it knows nothing."""
    house = House()
    ann, brian = house.enter("ann"), house.enter("brian", tab="b")
    before = len(ann.events())
    brian.transport.leave()
    house.clock.advance(0.05)
    again, second = house.enter("brian", tab="b"), house.enter("brian", tab="c")
    house.expire(100)
    assert len(ann.events()) == before
    assert again.kinds() == second.kinds() == ["presence_state"]
    assert again.roster() == second.roster() == {"ann": False, "brian": False}


def test_what_was_missed_between_two_streams_is_in_the_state():
    """Somebody left and somebody came while the client was away: its new state has both, and no diff of them follows."""
    house = House()
    brian, phil = house.enter("brian"), house.enter("phil")
    brian.transport.leave()
    house.dispatch(leave(key("phil")))
    house.enter("anna")
    again = house.enter("brian")
    assert again.kinds() == ["presence_state"]
    assert again.roster() == {"brian": False, "anna": False}
    assert phil.connection.closed


def test_only_the_same_scope_and_category_is_told():
    """Other categories, and other scopes, are sent nothing."""
    house = House()
    cook = house.enter("cook", category="kitchen")
    house.enter("ann")
    assert cook.roster() == {"cook": False}
    assert cook.kinds() == ["presence_state"]


def test_a_return_after_the_grace_is_both():
    """Also when nobody looked in between: in one step the others read that the old one left, and joined again."""
    house = House()
    ann, brian = house.enter("ann"), house.enter("brian")
    brian.transport.leave()
    house.clock.advance(6)
    house.kinds()
    assert house.enter("brian").kinds() == ["presence_state"]
    [data] = [data for name, data in ann.events()[2:] if name == "presence_diff"]
    assert (list(data["joins"]), list(data["leaves"])) == (["brian"], ["brian"])
    assert house.kinds() == [("left", "brian"), ("joined", "brian")]


def test_a_continuation_is_no_arrival():
    """What is dispatched inside of the opening has the key and a connection too, perhaps another one: nobody arrives again."""
    registry = Registry("test")
    registry.effect("sse_opened_here")(lambda ctx: None)
    house = House(registries=[registry])
    ann = house.enter("ann")
    brian = house.enter(
        "brian",
        effects=[
            broadcast(LOBBY, send("hello", event="hi"), each=True),
            broadcast(LOBBY, send("x", event="y")),
        ],
    )
    assert [each for each in ann.kinds() if each != "presence_state"] == [
        "presence_diff",
        "hi",
        "y",
    ]
    assert brian.kinds() == ["presence_state", "hi", "y"]
    assert len(house.presence) == 2


def test_a_request_of_a_member_is_no_arrival():
    """A dispatch that uses the open stream of a key changes nothing; nor does one whose connection was not stored."""
    house = House()
    ann = house.enter("ann")
    house.dispatch(send("for you", event="hi"), dispatch_data={"key": ("lobby", "ann")})
    assert ann.kinds() == ["presence_state", "hi"]
    gone, transport = recording_connection()
    transport.leave()
    house.dispatch(None, system={"sse": gone}, dispatch_data={"key": ("lobby", "brian")})
    assert (house.presence.member(key("brian")), len(house.presence)) == (None, 1)


def test_a_refused_stream_is_no_member(caplog):
    """After a stage that failed or halted nobody is stored, and nobody arrives."""
    for stage in (lambda ctx: ctx.halt(), lambda ctx: 1 / 0):
        house = House(interceptors=[{"id": "outer", "before_dispatch": stage}])
        house.enter("ann")
        assert len(house.presence) == 0


def test_what_is_known_of_a_stream_may_be_a_function():
    """The handlers of web ask for it only when the stages outside have let the request pass."""
    house = House()
    connection, _ = recording_connection(on_end=house.ended)
    house.dispatch(
        None,
        system={"sse": connection},
        dispatch_data={"key": ("lobby", "ann"), "presence": lambda: {"tab": "t", "hidden": True}},
    )
    member = house.presence.member(key("ann"))
    assert ([meta.tab for meta in member.metas], member.away) == (["t"], True)


def test_full_presence_is_an_error_of_the_stage(caplog):
    """Whoever cannot be a member is told so as an error of the dispatch, as a full store is; nobody is announced."""
    house = House(max_members=1)
    ann = house.enter("ann")
    [error] = house.enter("brian").told.errors
    assert (error.phase, error.interceptor_id) == ("before_dispatch", "sfere")
    assert isinstance(error.exception, PresenceFullError)
    assert ann.kinds() == ["presence_state"]


@pytest.mark.parametrize("given", [dict, lambda **meta: lambda: meta], ids=["dict", "function"])
def test_what_cannot_be_kept_of_a_meta_costs_the_stream_nothing(given, caplog):
    """The stream opens and its member is here with what can be kept; each part that cannot is logged, with whose it is."""
    house = House()
    ann = house.enter("ann")
    wrong = given(tab="x" * 100, device="phone", data="x" * 2000, hidden=True)
    connection, transport = recording_connection(on_end=house.ended)
    told = house.dispatch(
        None,
        system={"sse": connection},
        dispatch_data={"key": ("lobby", "brian"), "presence": wrong},
    )
    assert (told.errors, [event.event for event in transport.events()]) == ([], ["presence_state"])
    [meta] = house.presence.member(key("brian")).metas
    assert (meta.tab, meta.device, meta.data, meta.away) == (None, "phone", None, True)
    assert ann.roster() == {"ann": False, "brian": True}
    messages = [record.getMessage() for record in caplog.records]
    assert [message.partition("'")[2].partition("'")[0] for message in messages] == ["tab", "data"]
    assert all("stream of default/lobby/brian" in message for message in messages)


def test_whoever_may_wait_now_says_so():
    """The hub is asked to look at its alarm when a wait may have begun: by an effect, a departure, or a replacement."""
    grace = Grace(leave=1, replaced=1)
    for effect in (leave(key("ann")), hide(key("ann")), show(key("ann"))):
        waits = []
        house = House(grace=grace, on_wait=lambda: waits.append(house.presence.next_expiry()))  # noqa: B023  # called here
        house.enter("ann", tab="a")
        if effect[0] == "show":
            house.presence.hide(key("ann"))
        if effect[0] != "leave":
            house.presence.depart(house.store.peek(key("ann"))[0], "client")
        before = house.presence.next_expiry()
        del waits[:]
        house.dispatch(effect)
        assert (waits[-1] != before, waits[-1]) == (True, house.presence.next_expiry())
    waits = []
    house = House(
        grace=grace,
        on_wait=lambda: waits.append(house.presence.next_expiry()),
        store=MemoryStore(same_key="replace"),
    )
    house.enter("ann", tab="a")
    second = house.enter("ann", tab="b")
    assert waits[-1] == house.clock() + 1
    house.expire(1)
    second.transport.leave()
    assert waits[-1] == house.clock() + 5


# -- what members say


def test_leaving_closes_and_tells_at_once():
    """The streams are closed and told to stay away, the store has let go before anybody is told, and it is told once."""
    seen = []
    house = House(
        on_change=[lambda change: seen.append((change.kind, change.reason, house.store.keys()))]
    )
    ann = house.enter("ann")
    tabs = [house.enter("brian", tab=tab) for tab in "ab"]
    del seen[:]
    told = house.dispatch(leave(), dispatch_data={"key": ("lobby", "brian")})
    house.expire(100)
    assert told.errors == []
    assert seen == [("left", "leave", [key("ann")])]
    assert [(tab.connection.reason, tab.transport.ending) for tab in tabs] == [
        ("server", "finished")
    ] * 2
    assert ann.events()[-1][1]["leaves"]["brian"]["reason"] == "leave"


def test_one_tab_may_leave():
    """Only its stream is closed; the member stays with the other one."""
    house = House()
    first, second = house.enter("ann", tab="a"), house.enter("ann", tab="b")
    house.dispatch(leave(key("ann"), tab="a"))
    assert (first.connection.closed, second.connection.closed, house.kinds()) == (
        True,
        False,
        [("joined", "ann")],
    )
    house.dispatch(leave(key("ann"), tab="b"))
    assert (house.kinds(), house.store.keys()) == ([("left", "ann")], [])


def test_leaving_one_place_keeps_a_stream_that_has_another():
    """A connection under two keys stays open under the other one."""
    house = House()
    ann = house.enter("ann")
    house.dispatch(None, system={"sse": ann.connection}, dispatch_data={"key": ("kitchen", "ann")})
    house.dispatch(leave(key("ann")))
    assert (ann.connection.closed, house.store.keys()) == (False, [key("ann", category="kitchen")])
    assert [member.key for member in house.presence.roster()] == [key("ann", category="kitchen")]


def test_leaving_closes_where_the_store_does_not():
    """With a store whose removals close nothing, leave closes: nobody stays connected but deaf."""
    house = House()
    house.store.on_removal = None
    ann = house.enter("ann")
    house.dispatch(leave(key("ann")))
    assert (ann.connection.reason, ann.transport.ending) == ("server", "finished")


def test_away_and_back_are_told():
    """Hidden is away at once for everybody, visible is back; a word that changes nothing is told to nobody."""
    house = House()
    ann, brian = house.enter("ann"), house.enter("brian", tab="b")
    house.kinds()
    for effect, away in ((hide(key("brian"), tab="b"), True), (show(key("brian")), False)):
        for _ in range(2):
            assert house.dispatch(effect).errors == []
        assert ann.roster() == brian.roster() == {"ann": False, "brian": away}
    assert house.kinds() == [("away", "brian"), ("back", "brian")]
    house.dispatch(hide(), dispatch_data={"key": ("lobby", "brian")})
    assert house.kinds() == [("away", "brian")]


def test_other_data_is_told():
    """The others get the member as it is now."""
    house = House()
    ann, _ = house.enter("ann"), house.enter("brian", data=1)
    house.dispatch(update_meta({"typing": True}, key=key("brian")))
    [(_, data)] = ann.events()[2:]
    assert (data["joins"]["brian"]["metas"][0]["data"], data["leaves"]) == ({"typing": True}, {})
    house.dispatch(update_meta(2, key=key("brian"), tab="nothing"))
    assert len(ann.events()) == 3


def test_the_state_can_be_asked_for():
    """presence_state sends the state once more, to the connections of the dispatch."""
    house = House()
    ann = house.enter("ann")
    house.dispatch(presence_state(), dispatch_data={"key": ("lobby", "ann")})
    house.dispatch(presence_state(key("ann")), system={"sse": ann.connection})
    assert ann.kinds() == ["presence_state"] * 3


@pytest.mark.parametrize("effect", [leave(), hide(), show(), update_meta(1)])
def test_without_a_key_nobody_is_meant(effect, caplog):
    """An effect that names nobody, in a dispatch of nobody's, is an error that says what to do."""
    [error] = House().dispatch(effect).errors
    assert isinstance(error.exception, KeyShapeError)
    assert f"{effect[0]} needs a key" in str(error.exception)


def test_a_state_needs_a_receiver_and_a_key(caplog):
    """Without a connection there is nobody to send it to; without a key, nothing to send."""
    house = House()
    connection, _ = recording_connection()
    [error] = house.dispatch(presence_state(key("ann"))).errors
    assert isinstance(error.exception, NoConnectionError)
    [error] = house.dispatch(presence_state(), system={"sse": connection}).errors
    assert isinstance(error.exception, KeyShapeError)


@pytest.mark.parametrize(
    "make", [leave, hide, show, presence_state, lambda wrong: update_meta(1, key=wrong)]
)
@pytest.mark.parametrize("wrong", ["ann", LOBBY, ("default", ("lobby", None))])
def test_the_constructors_check_the_key(make, wrong):
    """A wrong key is an error where it is written."""
    with pytest.raises(KeyShapeError):
        make(wrong)


# -- telling


def test_changes_are_told_past_the_chain():
    """No stage can delay, reorder or lose what presence tells: nothing of it is dispatched."""
    seen = []
    house = House(
        interceptors=[
            {"id": "deaf", "before_dispatch": lambda ctx: ctx.halt() if ctx.kind == "x" else None},
            {"id": "audit", "before_effect": lambda ctx: seen.append(ctx.effect[0])},
        ]
    )
    ann = house.enter("ann")
    house.enter("brian")
    house.dispatch(leave(key("brian")))
    assert seen == ["leave"]
    assert ann.kinds() == ["presence_state", "presence_diff", "presence_diff"]
    assert house.kinds() == [("joined", "ann"), ("joined", "brian"), ("left", "brian")]


def test_changes_reach_all_callbacks_in_one_order():
    """What a callback causes is told after the changes of the call that it was called for."""
    heard = []

    def cause(change):
        heard.append((change.kind, change.key.id))
        if (change.kind, change.key.id) == ("left", "ann"):
            house.feed.leave(key("bob"))

    other = []
    house = House(
        grace=Grace(client=5.0),
        on_change=[cause, lambda change: other.append((change.kind, change.key.id))],
    )
    house.enter("ann").transport.leave()
    bob = house.enter("bob", tab="seen", hidden=False)
    house.enter("bob", tab="hidden", hidden=True)
    bob.transport.leave()
    house.expire(5)
    assert heard == other
    assert heard[-3:] == [("left", "ann"), ("away", "bob"), ("left", "bob")]


@pytest.mark.parametrize(
    ("cause", "reason"),
    [("explicit", "revoked"), ("expired", "expired"), ("size", "server")],
)
def test_one_key_of_two_is_left_for_the_right_reason(cause, reason):
    """A connection that keeps another key departs from one for the reason that the store had."""
    house = House(grace=Grace(server=0.0))
    ann = house.enter("ann")
    house.store.put(key("ann", "kitchen"), ann.connection)
    house.feed.arrive(key("ann", "kitchen"), ann.connection, {})
    house.feed.depart_from(key("ann", "kitchen"), ann.connection, cause)
    assert [(change.kind, change.reason) for change in house.changes] == [
        ("joined", None),
        ("joined", None),
        ("left", reason),
    ]


def test_a_replaced_key_of_two_is_no_departure():
    """Another connection takes one of two keys over: the member stays, and nothing is told."""
    house = House(store=MemoryStore(same_key="replace"))
    house.store.on_removal = lambda gone: house.feed.depart_from(
        gone.key, gone.connection, gone.cause
    )
    ann = house.enter("ann")
    house.store.put(key("ann", "kitchen"), ann.connection)
    house.feed.arrive(key("ann", "kitchen"), ann.connection, {})
    house.kinds()
    house.enter("ann", category="kitchen")
    assert house.kinds() == []
    assert house.presence.member(key("ann", "kitchen")).away is False


def test_a_callback_may_return_effects():
    """What it returns is dispatched; whose connection caused the change does not matter to it."""

    def tell(change):
        return broadcast(LOBBY, send(f"{change.key.id} {change.kind}", event="notice"))

    house = House(categories=(), on_change=[tell])
    ann = house.enter("ann")
    brian = house.enter("brian")
    brian.transport.leave()
    house.expire(5)
    assert [event.data for event in ann.transport.events()] == [
        "ann joined",
        "brian joined",
        "brian left",
    ]


def test_a_bare_send_of_a_callback_reaches_nobody(caplog):
    """The connection that happened to cause a change is not the callback's to write to."""
    house = House(categories=(), on_change=[lambda change: send("x")])
    ann = house.enter("ann")
    assert ann.transport.events() == []
    assert "needs an open connection" in caplog.text


def test_a_callback_that_fails_loses_nothing(caplog):
    """The others are called, and so are all for the next change; it is logged with who and what."""
    seen = []
    house = House(on_change=[lambda change: 1 / 0, lambda change: seen.append(change.kind)])
    house.enter("ann")
    house.dispatch(leave(key("ann")))
    assert seen == ["joined", "left"]
    lines = [record.getMessage().partition(" failed for ")[2] for record in caplog.records]
    assert [("'joined'" in line, "'left'" in line, "'ann'" in line) for line in lines] == [
        (True, False, True),
        (False, True, True),
    ]


def test_departures_caused_by_a_callback_do_not_nest():
    """Each of a thousand departures is caused by the one before: each is told once, in order, however deep that would be."""
    clients, told = {}, []

    def cascade(change):
        told.append((change.kind, change.key.id))
        if change.kind == "left" and change.key.id + 1 in clients:
            clients[change.key.id + 1].connection.close(reason="revoked")

    house = House(on_change=[cascade], categories=())
    for number in range(1000):
        clients[number] = house.enter(number)
    del told[:]
    clients[0].connection.close(reason="revoked")
    assert told == [("left", number) for number in range(1000)]
    assert (len(house.presence), house.store.count()) == (0, 0)


def test_a_storm_of_departures_is_told_in_few_diffs():
    """A thousand cut at once: four diffs for whoever remains, each departure in one of them, and told to the callback once."""
    house = House(max_members=2000, large=2000)
    watcher = house.enter("watcher")
    clients = [house.enter(number) for number in range(1000)]
    house.expire(1)
    before = len(watcher.events())
    house.kinds()
    for client in clients:
        client.transport.leave()
    house.expire(5)
    assert watcher.roster() == {"watcher": False}
    diffs = [data for _, data in watcher.events()[before:]]
    left = [name for data in diffs for name in data["leaves"]]
    assert sorted(left, key=int) == [str(number) for number in range(1000)]
    assert len(diffs) < 10
    assert sorted(house.kinds()) == [("left", number) for number in range(1000)]


def test_categories_that_are_not_announced_have_callbacks_only():
    """The application of such a category says what it likes itself."""
    house = House(categories={"kitchen"})
    ann, cook = house.enter("ann"), house.enter("cook", category="kitchen")
    house.dispatch([hide(key("ann")), hide(key("cook", category="kitchen"))])
    assert (ann.kinds(), cook.kinds()) == ([], ["presence_state", "presence_diff"])
    assert [kind for kind, _ in house.kinds()] == ["joined", "joined", "away", "away"]


def test_a_diff_that_nobody_can_read_is_not_made(monkeypatch):
    """The last one's departure has no receivers: nothing is encoded."""
    house = House()
    house.enter("ann")
    monkeypatch.setattr(
        presence_events.PresenceEvents, "diff", lambda self, changes: pytest.fail("encoded")
    )
    house.dispatch(leave(key("ann")))
    assert house.kinds() == [("joined", "ann"), ("left", "ann")]


# -- what fits


def test_a_large_state_comes_in_parts(monkeypatch):
    """Each part fits into an event, and together they are the state."""
    monkeypatch.setattr(presence_events, "PART_SIZE", 500)
    house = House()
    for number in range(50):
        house.enter(number)
    house.expire(1)
    late = house.enter("late")
    parts = [data for name, data in late.events() if name == "presence_state"]
    assert len(parts) > 5
    assert [(data["part"], data["parts"], data["omitted"]) for data in parts] == [
        (number, len(parts), 0) for number in range(1, len(parts) + 1)
    ]
    assert late.roster() == {**{str(number): False for number in range(50)}, "late": False}


def test_a_crowd_too_large_for_a_newcomer_is_cut_short(monkeypatch):
    """A state that an outbox could not hold says how many it leaves out, and where to go on."""
    assert (presence_events.PART_SIZE, presence_events.MAX_STATE) == (32 * 1024, 512 * 1024)
    monkeypatch.setattr(presence_events, "MAX_STATE", 1000)
    monkeypatch.setattr(presence_events, "PART_SIZE", 1000)
    house = House()
    for number in range(50):
        house.enter(number)
    house.expire(1)
    [(_, data), (name, counted)] = house.enter("late").events()
    assert len(data["members"]) + data["omitted"] == 51
    assert data["omitted"] > 30
    assert (name, counted["count"]) == ("presence_count", 51)
    rest = json.loads(house.feed.announcer.pager.page(key("late"), data["next"]))
    assert (rest["count"], rest["members"].keys() & data["members"].keys()) == (51, set())


def test_a_large_diff_comes_in_parts(monkeypatch):
    """Many changes at once are several diffs, each of which an event can hold; leaves come first."""
    monkeypatch.setattr(presence_events, "PART_SIZE", 500)
    house = House()
    watcher = house.enter("watcher")
    clients = [house.enter(number) for number in range(50)]
    before = len(watcher.events())
    for client in clients:
        client.transport.leave()
    house.expire(5)
    diffs = [data for _, data in watcher.events()[before:]]
    assert len(diffs) > 5
    assert all(len(json.dumps(data)) < 1200 for data in diffs)
    assert watcher.roster() == {"watcher": False}


def test_the_largest_member_fits_into_an_event():
    """As many connections as one may have, with as much data, in letters that JSON writes longest: still an event."""
    house = House()
    for number in range(MAX_METAS):
        last = house.enter(
            "ann", tab=f"{number:02}" + "\u20ac" * 62, device="\u20ac" * 64, data="\u00e4" * 511
        )
    assert house.dispatch(update_meta("\u00f6" * 511, key=key("ann"))).errors == []
    assert len(last.events()[-1][1]["joins"]["ann"]["metas"]) == MAX_METAS
    brian = house.enter("brian")
    assert brian.told.errors == []
    assert len(brian.transport.written) > 100_000


def test_a_name_that_unicode_cannot_say_silences_nobody():
    """An id with half of a surrogate pair is written as JSON can write it."""
    house = House()
    ann = house.enter("ann")
    assert house.enter("\ud800").told.errors == []
    assert len(ann.kinds()) == 2


def test_texts_are_made_once_and_not_kept_for_ever():
    """A member's text is made when it changes, not for each newcomer; those who left in silence are forgotten in time."""
    house = House()
    events = presence_events.PresenceEvents(house.presence)
    for number in range(100):
        house.enter(number)
    members = house.presence.announced()
    assert events.state(members) == events.state(members)
    assert repr(events) == "<PresenceEvents with 100 texts>"
    kept = events._texts[key(7)]
    events.state(members)
    assert events._texts[key(7)] is kept
    house.dispatch(leave(key(99)))
    events.diff(house.changes[-1:])
    assert repr(events) == "<PresenceEvents with 99 texts>"
    for member in members[:99]:
        house.store.peek(member.key)[0].close(reason="shutdown")
    assert (len(house.presence), events.state(house.presence.announced())[0].count(b"away")) == (
        0,
        0,
    )
    assert repr(events) == "<PresenceEvents with 0 texts>"
    assert events.diff([]) == []


# -- a chain that must be awaited


def test_an_asynchronous_chain_delays_and_loses_nothing():
    """With a stage that waits, the state still comes before what the opening sends, and departures are told all the same."""

    async def slow(ctx):
        await asyncio.sleep(0)

    async def play():
        registry = Registry("test")
        registry.effect("sse_opened_here")(lambda ctx: None)
        house = House(interceptors=[{"id": "slow", "before_dispatch": slow}], registries=[registry])
        ann = house.enter("ann", effects=[send(0, event="welcome")])
        await ann.told
        await settle()
        brian = house.enter("brian")
        await brian.told
        await settle()
        brian.transport.leave()
        await settle()
        house.dispatch(leave(key("brian")))
        await settle()
        return house, ann, brian

    async def settle():
        for _ in range(50):
            await asyncio.sleep(0)

    house, ann, brian = asyncio.run(play())
    assert ann.kinds() == ["presence_state", "welcome", "presence_diff", "presence_diff"]
    assert (brian.roster(), ann.roster()) == ({"ann": False, "brian": False}, {"ann": False})
    assert house.kinds() == [("joined", "ann"), ("joined", "brian"), ("left", "brian")]


# -- all together


@pytest.mark.parametrize("seed", range(3))
def test_every_client_sees_what_was_announced(seed, caplog):
    """Forty people come, reload, hide, leave, are cut, time out, get slow: each open stream's roster is the announced one."""
    caplog.set_level(logging.WARNING)
    chance = random.Random(seed)
    house = House(grace=Grace(hidden=30))
    open_clients = []

    def check():
        announced = {str(member.key.id): member.away for member in house.presence.announced(LOBBY)}
        for client in open_clients:
            assert client.roster() == announced
        # Each departure once: nobody leaves who is not there, nobody joins who is.
        members = set()
        for change in house.changes:
            assert (change.key in members) is (change.kind != "joined")
            (members.discard if change.kind == "left" else members.add)(change.key)
        assert members == {member.key for member in house.presence.announced(LOBBY)}
        here = {client.connection.key for client in open_clients}
        assert here <= {member.key for member in house.presence.roster(LOBBY)}

    for step in range(600):
        name, what = chance.randrange(40), chance.random()
        if what < 0.35 or not open_clients:
            open_clients.append(
                house.enter(
                    name, tab=chance.choice(["a", "b", None]), data=chance.choice([None, 1])
                )
            )
        elif what < 0.7:
            client = chance.choice(open_clients)
            how = chance.choice(["leave", "leave", "break", "timeout", "revoked"])
            if how == "leave":
                client.transport.leave()
            elif how == "break":
                client.transport.break_silently()
                house.dispatch(broadcast(LOBBY, send(0)))
            elif how == "timeout":
                client.connection.end("timeout")
            else:
                client.connection.close(reason="revoked")
        elif what < 0.9:
            who = key(name)
            house.dispatch(chance.choice([hide(who), show(who), update_meta(step, key=who)]))
        else:
            house.dispatch(leave(key(name)))
        open_clients = [client for client in open_clients if not client.connection.closed]
        house.expire(chance.choice([0, 0, 0, 0.05, 1, 6]))
        if step % 20 == 0:
            # Fewer streams than people would be many rosters to read.
            open_clients, closing = open_clients[-12:], open_clients[:-12]
            for client in closing:
                client.transport.leave()
            check()
    house.expire(1000)
    check()
    assert len(house.changes) > 100
    assert caplog.records == []
