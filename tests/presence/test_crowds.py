"""Crowds: changes are gathered while much is sent, and a large list is sent in pages."""

import json
import logging
import random
from itertools import pairwise
from math import inf

import pytest
from support.lobby import Page
from support.members import LOBBY, House, key

from sfere_tornado.defaults import GATHER, LARGE
from sfere_tornado.errors import KeyShapeError
from sfere_tornado.presence import PAGE_SIZE, Grace, Presence, announcer, gathering, pager
from sfere_tornado.presence import events as presence_events
from sfere_tornado.presence.effects import (
    hide,
    leave,
    presence_state,
    show,
    update_meta,
)
from sfere_tornado.presence.events import PresenceEvents
from sfere_tornado.testing import FakeClock


@pytest.fixture
def loud(monkeypatch):
    """Have everything gathered but the first change of a window."""
    monkeypatch.setattr(gathering, "SENT_AT_ONCE", 1)


def page_of(client):
    """Return what a page makes of all that a client was sent."""
    return Page().take(client.transport.events())


def pages(house, name="late", page=None):
    """Return the pages of a list, from the first to the last."""
    texts = [house.feed.announcer.pager.page(key(name))]
    while (after := json.loads(texts[-1])["next"]) is not None:
        texts.append(house.feed.announcer.pager.page(key(name), after))
    return texts


def crowd(house, number, first=0):
    """Have members enter, and let what is gathered leave, until it is quiet; returns their clients."""
    clients = [house.enter(f"m{each}") for each in range(first, first + number)]
    house.expire(1)
    house.expire(1)
    return clients


# -- gathering


def test_what_it_costs_to_wait():
    """The defaults, whose reasons the documentation gives."""
    assert (GATHER, LARGE, gathering.SENT_AT_ONCE, pager.COUNT_EVERY) == (0.1, 500, 1000, 1.0)


def test_a_small_list_waits_for_nothing():
    """In a list of ten each of fifty changes leaves in its call, whatever the clock says."""
    house = House()
    clients = [house.enter(number) for number in range(10)]
    for number in range(40):
        house.dispatch((hide if number % 2 == 0 else show)(key(number // 2 % 10)))
        assert all(client.roster() == clients[0].roster() for client in clients)
    assert clients[0].kinds() == ["presence_state"] + 49 * ["presence_diff"]
    assert house.next_due() == inf


def test_what_is_sent_is_counted(monkeypatch):
    """Each receiver and each member of a state: so a row of arrivals is gathered from the first that is beyond it."""
    monkeypatch.setattr(gathering, "SENT_AT_ONCE", 100)
    house = House()
    row = [house.enter(number) for number in range(20)]
    # Arrival k costs 2k: 90 after nine of them, 110 after ten.
    assert [bool(client.events()) for client in row] == 10 * [True] + 10 * [False]
    house.expire(GATHER)
    assert all(client.events() for client in row)


def test_the_first_change_after_a_quiet_time_leaves_at_once(loud):
    """The others are gathered for a tenth of a second, and leave as one step; then it is quiet again."""
    house = House()
    ann = house.enter("ann")
    house.clock.advance(GATHER)
    brian = house.enter("brian")
    assert (ann.roster(), brian.roster()) == (2 * ({"ann": False, "brian": False},))
    crowd = [house.enter(name) for name in ("cleo", "dora", "emma")]
    house.dispatch(leave(key("brian")))
    house.dispatch(hide(key("dora")))
    house.expire(GATHER - 0.01)
    assert (len(ann.events()), [client.events() for client in crowd]) == (2, [[], [], []])
    assert house.next_due() == pytest.approx(house.clock() + 0.01)
    house.expire(0.01)
    _, diff = ann.events()[-1]
    assert (list(diff["joins"]), list(diff["leaves"])) == (["cleo", "dora", "emma"], ["brian"])
    assert len(ann.events()) == 3
    here = {"ann": False, "cleo": False, "dora": True, "emma": False}
    for client in (ann, *crowd):
        assert client.roster() == here
    assert [client.kinds() for client in crowd] == 3 * [["presence_state"]]
    house.dispatch(show(key("dora")))
    assert len(ann.events()) == 3
    house.expire(GATHER)
    house.expire(GATHER)
    house.dispatch(hide(key("emma")))
    assert len(ann.events()) == 5


def test_callbacks_wait_for_nothing(loud):
    """Each change is reported in its call, and once, also when nothing of it is ever sent."""
    house = House()
    ann = house.enter("ann")
    for _ in range(3):
        house.enter("brian")
        house.dispatch(leave(key("brian")))
        assert house.changes[-1].remaining == (key("ann"),)
    assert house.kinds() == [("joined", "ann"), *(3 * [("joined", "brian"), ("left", "brian")])]
    house.expire(1)
    assert ann.kinds() == ["presence_state"]


def test_a_departure_and_a_return_are_one_step(loud):
    """Who was known, has left, and is back, is in both sides; who has left again, in one."""
    for again, joins in ((True, ["brian"]), (False, [])):
        house = House()
        ann = house.enter("ann")
        house.expire(1)
        house.enter("brian")
        house.dispatch(leave(key("brian")))
        brian = house.enter("brian")
        if not again:
            brian.connection.close(reason="revoked")
        house.expire(1)
        [_, _, (_, diff)] = ann.events()
        assert (list(diff["joins"]), list(diff["leaves"])) == (joins, ["brian"])
        assert diff["leaves"]["brian"]["reason"] == ("leave" if again else "revoked")
        assert page_of(ann).roster == {"ann": False, **dict.fromkeys(joins, False)}


def test_newcomers_of_the_same_time_share_one_state(loud, monkeypatch):
    """It is made once for all of them, and is the same bytes."""
    made = []

    class Counting(PresenceEvents):
        def state(self, members):
            made.append(len(members))
            return super().state(members)

    monkeypatch.setattr(announcer, "PresenceEvents", Counting)
    house = House()
    house.enter("ann")
    clients = crowd(house, 30)
    assert made == [1, 31]
    assert len({client.transport.written for client in clients}) == 1


@pytest.mark.parametrize("large", [1, 500])
def test_a_newcomer_that_has_gone_is_sent_nothing(loud, large):
    """Neither one whose stream has ended, nor one that has left the list and kept another key."""
    house = House(large=large)
    house.enter("ann")
    house.enter("eve")
    house.expire(1)
    house.enter("first")
    gone, moved, here = house.enter("brian"), house.enter("cleo"), house.enter("dora")
    house.add_key(moved.connection, "cleo", "kitchen")
    gone.connection.end("revoked")
    house.store.purge(key("cleo"))
    house.feed.depart_from(key("cleo"), moved.connection, "explicit")
    house.expire(1)
    assert gone.events() == []
    assert [list(data["members"]) for _, data in moved.events()] == [["cleo"]]
    assert page_of(here).roster == dict.fromkeys(("ann", "eve", "first", "dora"), False)


def test_gathering_can_be_switched_off(loud):
    """With 0 each change leaves in its call, however loud it is."""
    house = House(gather=0.0)
    ann = house.enter("ann")
    for name in range(20):
        house.enter(name)
    assert ann.kinds() == ["presence_state"] + 20 * ["presence_diff"]


def test_a_state_that_is_asked_for_comes_after_what_was_gathered(loud):
    """So nothing of it is said a second time, neither to the client nor to the others."""
    house = House()
    ann = house.enter("ann")
    brian, cleo = house.enter("brian"), house.enter("cleo")
    house.dispatch(presence_state(key("ann")), system={"sse": ann.connection})
    assert ann.kinds() == ["presence_state", "presence_diff", "presence_state"]
    assert [client.kinds() for client in (brian, cleo)] == 2 * [["presence_state"]]
    house.expire(1)
    here = {"ann": False, "brian": False, "cleo": False}
    assert [page_of(client).roster for client in (ann, brian, cleo)] == [here] * 3
    assert len(ann.events()) == 3


def test_what_a_sending_causes_comes_after_it(monkeypatch):
    """A stream ends because it is written to: its departure is told after all parts of the diff that was being sent."""
    monkeypatch.setattr(presence_events, "PART_SIZE", 200)
    house = House(grace=Grace(client=0.0))
    clients = crowd(house, 12)
    before = len(clients[0].events())
    for client in clients[1:7]:
        client.connection.end("slow")
    clients[9].transport.break_silently()
    house.expire(5)
    diffs = [data for _, data in clients[0].events()[before:]]
    assert [list(data["leaves"]) for data in diffs] == [
        ["m1", "m2"],
        ["m3", "m4"],
        ["m5", "m6"],
        ["m9"],
    ]


def test_the_alarm_is_set_for_what_is_gathered(loud):
    """Once for each window: the hub's timer sends it."""
    alarms = []
    house = House(on_wait=lambda: alarms.append(house.next_due()))
    house.enter("ann")
    assert alarms == []
    crowd = [house.enter(name) for name in range(5)]
    assert alarms == [house.clock() + GATHER]
    house.expire(GATHER)
    assert [client.kinds() for client in crowd] == 5 * [["presence_state"]]
    assert house.next_due() == inf


def test_lists_without_members_are_forgotten(loud):
    """Nothing is kept of a list whose last member has left, whatever was gathered of it, and however large it was."""
    house = House(large=3, grace=Grace(client=0.0))
    clients = [
        house.enter(name, category=f"c{number}")
        for number in range(20)
        for name in range(number % 6)
    ]
    for client in clients:
        client.transport.leave()
    assert len(house.presence) == 0
    house.expire(1)
    house.expire(1)
    assert repr(house.feed.announcer) == "<Announcer of 0 lists, 0 wait>"


# -- a large list


def test_a_newcomer_to_a_large_list_gets_the_count_itself_and_a_page():
    """The first page is the same for all; what is left out is counted, and ``next`` says where it begins."""
    house = House(large=60)
    crowd(house, 70)
    late = house.enter("late")
    (first, state), (second, counted) = late.events()
    assert (first, second) == ("presence_state", "presence_count")
    assert list(state["members"]) == [*(f"m{n}" for n in range(PAGE_SIZE)), "late"]
    assert (state["part"], state["parts"], state["omitted"]) == (1, 1, 20)
    assert counted["count"] == 71
    page = page_of(late)
    assert (page.is_whole, page.count, len(page.certain())) == (False, 71, 51)
    text = house.feed.announcer.pager.page(key("late"), state["next"])
    assert list(json.loads(text)["members"]) == [*(f"m{n}" for n in range(PAGE_SIZE, 70)), "late"]
    assert page.turn_to(text)
    assert (page.next, page.certain()) == (None, page.roster)
    assert set(page.roster) == {"late", *(f"m{n}" for n in range(70))}


def test_the_others_of_a_large_list_get_the_count_once_a_second():
    """No diff; the count when something has changed, a second after the last at the earliest; the last one is true."""
    house = House(large=10, grace=Grace(client=0.0))
    clients = crowd(house, 15)
    before = len(clients[0].events())
    for number in range(30):
        if number % 3 == 0:
            house.store.peek(key(f"m{number // 3 + 2}"))[0].end("revoked")
        else:
            house.enter(f"n{number}")
        house.expire(0.09)
    assert clients[0].kinds()[before:] == 3 * ["presence_count"]
    house.expire(1)
    names, counts = zip(*clients[0].events()[before:], strict=True)
    assert set(names) == {"presence_count"}
    times = [data["now"] for data in counts]
    assert all(later - earlier >= 1 for earlier, later in pairwise(times))
    assert (counts[-1]["count"], len(house.presence)) == (25, 25)
    house.expire(100)
    assert len(clients[0].events()) == before + len(counts)


def test_what_does_not_change_the_count_is_news_too():
    """One leaves and another joins, or one is away: the version says that pages are stale."""
    house = House(large=10)
    clients = crowd(house, 15)
    page = page_of(clients[0])
    text = house.feed.announcer.pager.page(key("m0"))
    assert page.turn_to(text)
    versions = [page.version]
    for change in (
        lambda: (house.dispatch(leave(key("m1"))), house.enter("other")),
        lambda: house.dispatch(hide(key("m2"))),
        lambda: house.dispatch(update_meta(1, key=key("m2"))),
    ):
        change()
        house.expire(1)
        page = page_of(clients[0])
        assert page.count == 15
        assert page.version > versions[-1]
        versions.append(page.version)
        assert not page.turn_to(text)


def test_a_list_that_grows_large_says_so(loud):
    """Those who had it whole are sent the count in place of the diff; from then on no diff comes."""
    house = House(large=10)
    clients = crowd(house, 10)
    assert all(page_of(client).is_whole for client in clients)
    house.enter("last")
    page = page_of(clients[0])
    assert (clients[0].kinds()[-1], page.is_whole, page.count) == ("presence_count", False, 11)
    house.dispatch(leave(key("m5")))
    house.expire(1)
    page = page_of(clients[0])
    assert (page.count, page.left, page.certain()) == (10, [], {})


def test_a_list_that_shrinks_is_sent_whole():
    """A tenth below the bound, so that who comes and goes at the bound does not have it sent each time; never twice in a second."""
    house = House(large=20)
    clients = crowd(house, 25)
    before = len(clients[0].events())
    for number in range(24, 18, -1):
        house.dispatch(leave(key(f"m{number}")))
    house.expire(1)
    assert clients[0].kinds()[before:] == ["presence_count", "presence_count"]
    house.enter("m19")
    house.dispatch([leave(key("m19")), leave(key("m18"))])
    house.expire(0.5)
    assert not page_of(clients[0]).is_whole
    house.expire(0.5)
    for client in clients[:18]:
        page = page_of(client)
        assert page.is_whole
        assert page.roster == {f"m{number}": False for number in range(18)}
    house.dispatch(leave(key("m0")))
    assert page_of(clients[1]).left == [("m0", "leave")]
    assert len(crowd(house, 2, first=30)) == 2
    assert page_of(clients[1]).is_whole


def test_a_list_that_is_large_again_says_so_at_once():
    """The count that says that a list is not whole any more does not wait for the second since the last one."""
    house = House(large=10)
    clients = crowd(house, 11)
    house.dispatch(leave(key("m10")))
    house.dispatch(leave(key("m9")))
    house.expire(1)
    assert page_of(clients[0]).is_whole
    for name in ("a", "b"):
        house.enter(name)
    assert not page_of(clients[0]).is_whole
    assert page_of(clients[0]).count == 11


def test_newcomers_of_a_large_list_share_pages(loud, monkeypatch):
    """Of eight kilobytes of newcomers all get the same event, which is made once; each finds itself in it."""
    made = []

    class Counting(PresenceEvents):
        def first_page(self, page, own):
            own = list(own)
            made.append(len(own))
            return super().first_page(page, own)

    monkeypatch.setattr(announcer, "PresenceEvents", Counting)
    house = House(large=10)
    crowd(house, 15)
    del made[:]
    house.enter("first")
    late = [house.enter(f"late {number}") for number in range(200)]
    house.expire(1)
    assert (made[0], sum(made), len(made)) == (1, 201, 4)
    for number, client in enumerate(late):
        assert f"late {number}" in page_of(client).certain()
    assert len({client.transport.written for client in late}) == 3


def test_few_newcomers_of_a_large_list_wait_for_nothing():
    """Some of each window are sent their page in the call that brings them; then they are gathered."""
    house = House(large=10)
    crowd(house, 15)
    late = [house.enter(f"late {number}") for number in range(40)]
    sent = [bool(client.events()) for client in late]
    assert 10 < sum(sent) < 30
    assert sent == sorted(sent, reverse=True)
    house.expire(GATHER)
    assert all(client.events() for client in late)


def test_long_entries_make_a_list_large(monkeypatch):
    """A list whose state does not fit is sent in pages, whatever the number, until it fits again."""
    monkeypatch.setattr(presence_events, "MAX_STATE", 3000)
    house = House()
    clients = [house.enter(f"m{number}", data="x" * 200) for number in range(8)]
    assert page_of(clients[0]).is_whole
    clients.append(house.enter("m8", data="x" * 1000))
    clients.append(house.enter("m9", data="x" * 1000))
    house.expire(1)
    assert [page_of(client).is_whole for client in clients] == 10 * [False]
    house.dispatch([leave(key("m8")), leave(key("m9"))])
    house.expire(1)
    assert [page_of(client).is_whole for client in clients[:8]] == 8 * [True]


def test_a_slow_client_keeps_the_last_count_only():
    """With conflation a count takes the place of an older one that waits, and the order stays true."""
    house = House(large=10)
    slow = house.enter("slow", conflate=True)
    crowd(house, 12)
    slow.transport.stalled = True
    before = len(slow.events())
    for number in range(12, 15):
        house.enter(f"m{number}")
        house.expire(1)
    for number in range(5, 15):
        house.dispatch(leave(key(f"m{number}")))
    house.expire(1)
    house.dispatch(leave(key("m4")))
    crowd(house, 10, first=20)
    slow.transport.stalled = False
    slow.transport.drain()
    assert slow.kinds()[before:] == [
        "presence_count",
        "presence_state",
        "presence_diff",
        *(5 * ["presence_diff"]),
        "presence_count",
    ]
    page = page_of(slow)
    assert (page.is_whole, page.count) == (False, 15)


# -- pages


def test_pages_go_by_the_order_of_joining():
    """Who stays is on one of them, whatever others do between two; who has joined meanwhile is on the last."""
    presence = Presence(timer=FakeClock())
    for number in range(7):
        presence.arrive(key(number), object())
    presence.arrive(key("cook", "kitchen"), object())
    page = presence.page(key("any"), limit=3)
    assert ([member.key.id for member in page.members], page.count) == ([0, 1, 2], 7)
    for number in (1, 2, 3):
        presence.leave(key(number))
    presence.arrive(key(1), object())
    page = presence.page(key("any"), page.next, limit=3)
    assert ([member.key.id for member in page.members], page.count) == ([4, 5, 6], 5)
    page = presence.page(key("any"), page.next, limit=3)
    assert ([member.key.id for member in page.members], page.next) == ([1], None)
    assert presence.page(key("any"), limit=5).next is None
    assert presence.page(key("any"), 10**14).members == ()
    nobody = presence.page(key("any", "garden"))
    assert (nobody.members, nobody.count, nobody.version, nobody.next) == ((), 0, 0, None)


def test_a_page_is_as_old_as_its_version():
    """Each change of the list has a number of its own; those of other lists do not count."""
    presence = Presence(timer=FakeClock())
    versions = [0]

    def changed(changes):
        versions.append(presence.page(key("ann")).version)
        assert presence.page(key("ann")).version == versions[-1]
        return (versions[-1] > versions[-2], len(changes) > 0)

    for step in (
        lambda: presence.arrive(key("ann"), "a", tab="t"),
        lambda: presence.arrive(key("brian"), "b"),
        lambda: presence.hide(key("ann")),
        lambda: presence.update(key("ann"), 1),
        lambda: presence.show(key("ann")),
        lambda: presence.leave(key("brian")),
    ):
        assert changed(step()) == (True, True)
    for step in (
        lambda: presence.arrive(key("ann"), "c", tab="t"),
        lambda: presence.show(key("ann")),
        list,
    ):
        assert changed(step()) == (False, False)
    presence.arrive(key("cook", "kitchen"), "d")
    assert changed([]) == (False, False)


@pytest.mark.parametrize("wrong", [{"after": -1}, {"limit": 0}, {"after": -1, "limit": -1}])
def test_a_page_has_a_place_and_a_size(wrong):
    """Less than nothing is an error."""
    with pytest.raises(ValueError, match="a page begins after 0 or more"):
        Presence().page(key("ann"), **wrong)


@pytest.mark.parametrize("wrong", ["ann", LOBBY, ("default", ("lobby", None))])
def test_a_page_is_of_the_list_of_a_key(wrong):
    """A pattern is refused, as by ``presence_state``: a client sees one list, not all of them."""
    for make in (Presence().page, presence_state):
        with pytest.raises(KeyShapeError):
            make(wrong)


def test_a_page_fits(monkeypatch):
    """It ends where an event would, with one member at least, and the next one goes on there."""
    monkeypatch.setattr(presence_events, "PART_SIZE", 500)
    house = House()
    crowd(house, 40)
    house.enter("late", data="x" * 1000)
    house.enter("last")
    texts = pages(house)
    assert all(len(text) < 2000 for text in texts)
    assert len(texts) > 5
    assert [name for text in texts for name in json.loads(text)["members"]] == [
        *(f"m{number}" for number in range(40)),
        "late",
        "last",
    ]


def test_what_is_not_announced_can_be_asked_for():
    """Where the application announces in its own words, pages and states are made all the same."""
    house = House(categories=(), large=10)
    clients = crowd(house, 15)
    house.dispatch(presence_state(key("m0")), system={"sse": clients[0].connection})
    assert [client.kinds() for client in clients[:2]] == [["presence_state", "presence_count"], []]
    assert len(pages(house)) == 1


# -- all together


class Reader:
    """A client with a page, which reads on where it stopped."""

    def __init__(self, client):
        self.client, self.page, self.read = client, Page(), 0
        #: Texts of pages that are on their way.
        self.coming = []

    def catch_up(self):
        events = self.client.transport.events()
        self.page.take(events[self.read :])
        self.read = len(events)
        return self.page


@pytest.mark.parametrize("seed", range(4))
def test_what_clients_build_is_the_truth(seed, monkeypatch, caplog):
    """People come in bursts, reload, hide, leave, come under several keys, are slow, and turn pages, while the list grows large and shrinks: what each has built is the truth."""
    chance = random.Random(seed)
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(gathering, "SENT_AT_ONCE", chance.choice([1, 40, 300]))
    monkeypatch.setattr(presence_events, "PART_SIZE", 600)
    house = House(grace=Grace(client=3.0, hidden=8.0), large=14)
    readers, sizes = [], set()

    def truth():
        return {str(member.key.id): member.away for member in house.presence.announced(LOBBY)}

    def check():
        """Compare, when nothing waits any more."""
        for reader in readers:
            if reader.client.transport.stalled:
                reader.client.transport.stalled = False
                reader.client.transport.drain()
        house.expire(1.0)
        house.expire(1.0)
        now = truth()
        sizes.add(len(now) > 14)
        for reader in readers:
            page = reader.catch_up()
            if page.is_whole:
                assert page.roster == now
                continue
            assert (page.count, page.version) == (len(now), house.presence.page(key("any")).version)
            assert page.certain().items() <= now.items()
            assert all(page.turn_to(text) for text in pages(house))
            assert page.certain() == now
            own = house.store.keys_of(reader.client.connection)
            assert {each.id for each in own} <= set(page.certain())
        # Each departure once: nobody leaves who is not there, nobody joins who is.
        members = set()
        for change in house.changes:
            assert (change.key in members) is (change.kind != "joined")
            (members.discard if change.kind == "left" else members.add)(change.key)
        assert members == {member.key for member in house.presence.announced(LOBBY)}

    def enter(name):
        client = house.enter(
            name,
            tab=chance.choice(["a", "b", None]),
            data=chance.choice([None, name]),
            conflate=chance.random() < 0.5,
        )
        if chance.random() < 0.2:
            house.add_key(client.connection, chance.choice(["second", "third", "p1"]))
        readers.append(Reader(client))

    for step in range(600):
        name, what = f"p{chance.randrange(30)}", chance.random()
        crowded = (step // 100) % 2 == 0
        if what < (0.5 if crowded else 0.2) or not readers:
            enter(name)
        elif what < (0.55 if crowded else 0.6):
            reader = chance.choice(readers)
            if chance.random() < 0.5:
                reader.client.transport.leave()
            else:
                reader.client.connection.close(reason="revoked")
        elif what < 0.75:
            who = key(name)
            house.dispatch(
                chance.choice([hide(who), show(who), update_meta(step, key=who), leave(who)])
            )
        elif what < 0.85:
            reader = chance.choice(readers)
            reader.coming.append(
                house.feed.announcer.pager.page(key("any"), chance.choice([0, step]))
            )
            if chance.random() < 0.5 and reader.catch_up().roster is not None:
                reader.page.turn_to(reader.coming.pop(0))
        elif what < 0.9:
            transport = chance.choice(readers).client.transport
            if not transport.stalled:
                transport.stalled = True
        elif what < 0.93:
            house.dispatch(presence_state(key(name)), system={"sse": readers[0].client.connection})
        readers = [reader for reader in readers if not reader.client.connection.closed]
        house.expire(chance.choice([0, 0, 0, 0.03, 0.1, 0.7]))
        for reader in readers:
            reader.catch_up()
        if step % 25 == 24:
            readers = [reader for reader in readers if not reader.client.connection.closed]
            check()
    assert sizes == {True, False}
    assert caplog.records == []
