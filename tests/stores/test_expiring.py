"""Leases: what renews them, what does not, when they end, and in which portions."""

import gc
import time
import weakref

import pytest

from sfere_tornado.errors import KeyTakenError, StoreFullError
from sfere_tornado.keys import ANY, as_pattern
from sfere_tornado.stores import EXPIRE_SLICE, TTL, CategoryRules, ExpiringStore
from sfere_tornado.testing import FakeClock

LOBBY = (ANY, ("lobby", ANY))
ANN = ("default", ("lobby", "ann"))
BRIAN = ("default", ("lobby", "brian"))


class Thing:
    """A connection that can be watched."""


@pytest.fixture
def clock():
    return FakeClock()


def told(store):
    """Write down who leaves, with cause, and who remains."""
    calls = []

    def left(key, connection, cause):
        remaining = store.keys()
        calls.append((key.id, cause, [each.id for each in remaining]))

    store.on_evict = left
    return calls


def test_the_defaults():
    """Unless told otherwise a lease is ten minutes, sliding, renewed by requests and acknowledgements, monotonic."""
    store = ExpiringStore()
    assert (store.ttl, store.expiry, store.maxsize, store.timer) == (
        600.0,
        "sliding",
        10_000,
        time.monotonic,
    )
    assert store.renewed_by == {"request", "ack"}
    assert TTL == 600.0


def test_an_entry_leaves_when_its_lease_ends(clock):
    """An entry stays until just before its end, and is told once, cause ``expired``."""
    store, ann = ExpiringStore(10.0, timer=clock), Thing()
    calls = told(store)
    store.put(ANN, ann)
    clock.advance(9.999)
    assert (store.expire(), store.peek(ANN)) == ([], (ann,))
    clock.advance(0.001)
    assert store.expire() == [(ANN, ann, "expired", 0)]
    assert (store.expire(), calls, len(store)) == ([], [("ann", "expired", [])], 0)


READERS = {
    "get": (lambda store: store.get(ANN), ()),
    "peek": (lambda store: store.peek(ANN), ()),
    "keys": (ExpiringStore.keys, []),
    "keys of a pattern": (lambda store: store.keys(LOBBY), []),
    "connections": (lambda store: store.connections(LOBBY), []),
    "connections of the key": (lambda store: store.connections(ANN), []),
    "count": (lambda store: store.count(LOBBY), 0),
    "len": (len, 0),
    "contains": (lambda store: ANN in store, False),
}


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize(("read", "nothing"), READERS.values(), ids=READERS)
def test_past_its_lease_is_gone_for_every_reader(clock, monkeypatch, read, nothing, behind):
    """Nobody meets an entry past its lease, also when nothing has removed it, nor when too many are to be removed."""
    if behind:
        monkeypatch.setattr("sfere_tornado.stores.leases.EXPIRE_SLICE", 0)
    store, ann = ExpiringStore(10.0, timer=clock), Thing()
    store.put(ANN, ann)
    assert read(store) != nothing
    clock.advance(10.0)
    assert read(store) == nothing
    assert (store.keys_of(ann), store.renew(ann)) == ((), False)


def test_whoever_finds_it_the_cause_is_expired(clock, monkeypatch):
    """A purge that finds an entry past its lease does not make it an explicit departure."""
    monkeypatch.setattr("sfere_tornado.stores.leases.EXPIRE_SLICE", 0)
    store, ann = ExpiringStore(10.0, timer=clock), Thing()
    for purge in (lambda: store.purge(ANN), lambda: store.purge_connection(ann), store.clear):
        store.put(ANN, ann)
        clock.advance(10.0)
        assert purge() == [(ANN, ann, "expired", 0)]


# -- signs of life


@pytest.mark.parametrize(("sign", "source"), [("get", "request"), ("renew", "ack")])
def test_signs_of_life_renew_a_sliding_lease(clock, sign, source):
    """A request and an acknowledgement renew, each if it is asked for; an empty set renews by nothing."""
    for renewed_by in ({"request", "ack"}, {source}, {"request", "ack"} - {source}, ()):
        store, ann = ExpiringStore(10.0, timer=clock, renewed_by=renewed_by), Thing()
        store.put(ANN, ann)
        clock.advance(6.0)
        assert store.get(ANN) == (ann,) if sign == "get" else store.renew(ann)
        clock.advance(6.0)
        assert store.peek(ANN) == ((ann,) if source in renewed_by else ())


def test_a_request_renews_all_connections_of_its_key(clock):
    """The client's request is a sign of life of all its tabs, and of nobody else."""
    store, tabs, brian = ExpiringStore(10.0, timer=clock), [Thing(), Thing()], Thing()
    for tab in tabs:
        store.put(ANN, tab)
    store.put(BRIAN, brian)
    clock.advance(6.0)
    store.get(ANN)
    clock.advance(6.0)
    assert store.connections(LOBBY) == tabs


def test_an_acknowledgement_renews_the_connection_under_all_its_keys(clock):
    """A connection that answers lives under every key it has; another tab of the same key does not."""
    store, tab, other = ExpiringStore(10.0, timer=clock), Thing(), Thing()
    store.put(ANN, tab)
    store.put(ANN, other)
    store.put(("default", ("user", "ann")), tab)
    clock.advance(6.0)
    assert store.renew(tab)
    clock.advance(6.0)
    assert store.keys_of(tab) == (ANN, ("default", ("user", "ann")))
    assert store.peek(ANN) == (tab,)


def test_what_the_server_does_renews_nothing(clock):
    """Broadcasts, listings, counts, look-ups, other people's arrivals and departures are no signs of life."""
    store, ann = ExpiringStore(10.0, timer=clock), Thing()
    store.put(ANN, ann)
    for second in range(9):
        clock.advance(1.0)
        assert store.connections(LOBBY)[0] is ann
        assert store.connections(LOBBY, exclude={BRIAN}) == [ann]
        assert store.connections(LOBBY, exclude=as_pattern((ANY, ("user", ANY)))) == [ann]
        assert (store.keys(), store.keys(LOBBY), store.keys_of(ann)) == ([ANN], [ANN], (ANN,))
        assert (store.count(), store.count(LOBBY), len(store), ANN in store) == (1, 1, 1, True)
        assert (store.peek(ANN), store.expire(), store.next_expiry() > clock()) == (
            (ann,),
            [],
            True,
        )
        assert repr(store)
        brian = Thing()
        store.put(("default", ("lobby", second)), brian)
        assert store.purge_connection(brian)
        assert store.purge_connection(Thing()) == []
    clock.advance(1.0)
    assert store.connections(LOBBY) == []


def test_storing_again_gives_a_fresh_sliding_lease(clock):
    """The same connection under the same key begins anew; another one that joins renews only itself."""
    store, ann, tab = ExpiringStore(10.0, timer=clock), Thing(), Thing()
    store.put(ANN, ann)
    clock.advance(6.0)
    store.put(ANN, ann)
    clock.advance(6.0)
    store.put(ANN, tab)
    assert store.peek(ANN) == (ann, tab)
    clock.advance(4.0)
    assert store.peek(ANN) == (tab,)


def test_in_a_busy_room_the_silent_one_leaves_on_time_and_alone(clock):
    """While the others give signs of life and messages go to all, the silent one's lease ends as if it were quiet."""
    store, people = (
        ExpiringStore(30.0, timer=clock),
        {name: Thing() for name in ("ann", "brian", "chris")},
    )
    calls = told(store)
    for name, person in people.items():
        store.put(("default", ("lobby", name)), person)
    for second in range(1, 31):
        clock.advance(1.0)
        store.connections(LOBBY, exclude={ANN})
        store.get(ANN)
        store.renew(people["chris"])
        assert bool(calls) is (second == 30)
    assert calls == [("brian", "expired", ["ann", "chris"])]


def test_leases_do_not_end_in_step(clock):
    """Connections that came at different times leave at different times, so that somebody is there to be told."""
    store = ExpiringStore(10.0, timer=clock)
    calls = told(store)
    for number in range(5):
        store.put(("default", ("lobby", number)), Thing())
        store.connections(LOBBY)
        clock.advance(1.0)
    for _ in range(10):
        store.connections(LOBBY)
        store.expire()
        clock.advance(1.0)
    assert [(who, len(rest)) for who, _, rest in calls] == [(0, 4), (1, 3), (2, 2), (3, 1), (4, 0)]


def test_leases_end_in_their_own_order(clock):
    """What is removed in one call comes in the order in which the leases ended, renewed ones in their new place."""
    store, people = ExpiringStore(10.0, timer=clock), [Thing() for _ in range(3)]
    for number, person in enumerate(people):
        store.put(("default", ("lobby", number)), person)
        clock.advance(1.0)
    store.renew(people[0])
    clock.advance(10.0)
    assert [removal.key.id for removal in store.expire()] == [1, 2, 0]


# -- fixed leases


def test_a_fixed_lease_is_not_renewed(clock):
    """Nothing that a client or a server does moves the end of a fixed lease."""
    store, ann = ExpiringStore(10.0, expiry="fixed", timer=clock), Thing()
    store.put(ANN, ann)
    for _ in range(9):
        clock.advance(1.0)
        assert store.get(ANN) == (ann,)
        assert store.renew(ann)
        store.put(ANN, ann)
    clock.advance(1.0)
    assert store.get(ANN) == ()


@pytest.mark.parametrize("same_key", ["join", "replace"])
def test_a_fixed_lease_counts_from_the_first_storing_of_the_key(clock, same_key):
    """Stored at 0 and again at 200 with another connection, a lease of 300 has ended at 300; then it starts anew."""
    store, second = ExpiringStore(300.0, expiry="fixed", same_key=same_key, timer=clock), Thing()
    store.put(ANN, Thing())
    clock.advance(200.0)
    store.put(ANN, second)
    clock.advance(99.0)
    assert second in store.peek(ANN)
    clock.advance(1.0)
    assert store.peek(ANN) == ()
    store.put(ANN, second)
    clock.advance(299.0)
    assert store.peek(ANN) == (second,)


def test_a_fixed_lease_starts_anew_once_nobody_holds_the_key(clock):
    """The start is forgotten with the key's last connection, not before."""
    store, first, second = ExpiringStore(10.0, expiry="fixed", timer=clock), Thing(), Thing()
    store.put(ANN, first)
    clock.advance(4.0)
    store.put(ANN, second)
    store.purge_connection(first)
    clock.advance(4.0)
    store.put(ANN, first)
    store.purge_connection(second)
    clock.advance(1.0)
    assert store.peek(ANN) == (first,)
    store.purge(ANN)
    store.put(ANN, first)
    clock.advance(9.0)
    assert store.peek(ANN) == (first,)
    clock.advance(1.0)
    assert store.peek(ANN) == ()


def test_a_category_may_have_its_own_lease(clock):
    """Duration and kind of a category go before the store's; None leaves them as they are."""
    rules = {
        "game": CategoryRules(ttl=2.0),
        "quiz": CategoryRules(expiry="fixed"),
        "lobby": CategoryRules(),
    }
    store = ExpiringStore(10.0, timer=clock, categories=rules)
    keys = [("default", (category, 1)) for category in ("game", "quiz", "lobby")]
    for key in keys:
        store.put(key, Thing())
    clock.advance(1.0)
    assert store.keys() == keys
    for key in keys:
        store.get(key)
    clock.advance(2.0)
    assert store.keys() == keys[1:]
    clock.advance(7.0)
    assert store.keys() == keys[2:]


# -- bounds


def test_what_has_ended_holds_no_key_and_takes_no_room(clock):
    """A newcomer is neither refused by a key whose lease has ended, nor by a store full of such."""
    store, ann = ExpiringStore(10.0, timer=clock, same_key="refuse", maxsize=2), Thing()
    store.put(ANN, Thing())
    store.put(BRIAN, Thing())
    with pytest.raises(KeyTakenError):
        store.put(ANN, ann)
    with pytest.raises(StoreFullError):
        store.put(("default", ("lobby", "chris")), ann)
    clock.advance(10.0)
    assert store.put(ANN, ann) == []
    assert store.put(BRIAN, ann) == []


@pytest.mark.parametrize("expiry", ["sliding", "fixed"])
def test_more_that_has_ended_than_a_call_removes_is_no_hindrance(clock, expiry):
    """Although a slice leaves most of them stored, ended entries neither hold their key nor take room."""
    count = 3 * EXPIRE_SLICE
    store, newcomer = (
        ExpiringStore(10.0, timer=clock, same_key="refuse", maxsize=count, expiry=expiry),
        Thing(),
    )
    for number in range(count):
        store.put(("default", ("lobby", number)), Thing())
    clock.advance(10.0)
    last = ("default", ("lobby", count - 1))
    assert store.put(last, newcomer) == []
    clock.advance(9.0)
    assert (store.peek(last), len(store)) == ((newcomer,), 1)

    store = ExpiringStore(10.0, timer=clock, maxsize=count, renewed_by={"ack"})
    people = [Thing() for _ in range(count)]
    for number, person in enumerate(people):
        store.put(("default", ("lobby", number)), person)
    clock.advance(9.0)
    for person in people[:-1]:
        store.renew(person)
    clock.advance(9.0)
    # The only free place is that of the last, and all the others' places in the heap come before it.
    store.put(("default", ("lobby", "newcomer")), newcomer)
    assert (len(store), store.peek(last)) == (count, ())


def test_the_longest_idle_is_the_one_without_what_counts_as_a_sign(clock):
    """At ``maxsize`` a request that renews nothing does not save anybody either."""
    store = ExpiringStore(10.0, timer=clock, maxsize=2, on_full="evict", renewed_by={"ack"})
    ann, brian, chris = Thing(), Thing(), Thing()
    store.put(ANN, ann)
    store.put(BRIAN, brian)
    store.get(ANN)
    assert store.put(("default", ("lobby", "chris")), chris) == [(ANN, ann, "size", 0)]
    store.renew(brian)
    assert store.put(ANN, ann) == [(("default", ("lobby", "chris")), chris, "size", 0)]


def test_leaving_takes_slices(clock):
    """A call removes a slice at most; next_expiry says "now" until nothing is left, and nobody meets the rest."""
    store = ExpiringStore(10.0, timer=clock)
    count = 2 * EXPIRE_SLICE + 10
    for number in range(count):
        store.put(("default", ("lobby", number)), Thing())
    clock.advance(10.0)
    assert [removal.key.id for removal in store.expire()] == list(range(EXPIRE_SLICE))
    assert store.next_expiry() <= clock()
    assert store.connections(LOBBY) == []
    assert store.next_expiry() <= clock()
    assert len(store.expire(limit=3)) == 3
    assert len(store.expire()) == 7
    assert (store.expire(), store.next_expiry()) == ([], None)


@pytest.mark.parametrize("look", ["connections", "put", "expire"])
def test_a_slice_bounds_what_callbacks_remove_too(clock, look):
    """Of 4,000 leases that end together, a call and the callbacks it causes remove one slice."""
    store = ExpiringStore(10.0, timer=clock)
    looks = {
        "connections": lambda removal: store.connections(LOBBY),
        "put": lambda removal: store.put(("default", ("game", removal.key.id)), Thing()),
        "expire": lambda removal: store.expire(),
    }
    for number in range(4000):
        store.put(("default", ("lobby", number)), Thing())
    called = []

    def left(removal):
        called.append(removal.cause)
        looks[look](removal)

    store.on_removal = left
    clock.advance(10.0)
    for number in range(1, 17):
        assert store.connections(LOBBY) == []
        assert len(called) == number * EXPIRE_SLICE
        if number < 16:
            assert store.next_expiry() <= clock()
    assert store.next_expiry() != clock()
    assert set(called) == {"expired"}


def test_a_slice_also_bounds_what_is_only_put_right(clock):
    """Renewed leases that come up at once are looked at in slices too, and nobody is lost."""
    store = ExpiringStore(10.0, timer=clock)
    people = [Thing() for _ in range(2 * EXPIRE_SLICE)]
    for number, person in enumerate(people):
        store.put(("default", ("lobby", number)), person)
    clock.advance(5.0)
    for person in people:
        store.renew(person)
    clock.advance(5.0)
    assert store.expire() == []
    assert store.next_expiry() <= clock()
    assert store.connections(LOBBY) == people
    assert store.next_expiry() > clock()
    clock.advance(5.0)
    assert store.connections(LOBBY) == []


def test_next_expiry_is_never_late(clock):
    """It is the end of the next lease, or earlier when that was renewed; expiring then puts it right."""
    store, ann, brian = ExpiringStore(10.0, timer=clock), Thing(), Thing()
    assert store.next_expiry() is None
    store.put(ANN, ann)
    clock.advance(1.0)
    store.put(BRIAN, brian)
    assert store.next_expiry() == 1010.0
    store.renew(ann)
    assert store.next_expiry() == 1010.0
    clock.advance(9.0)
    assert (store.expire(), store.next_expiry()) == ([], 1011.0)
    store.purge(ANN)
    store.purge(BRIAN)
    assert store.next_expiry() is None


def test_renewing_and_leaving_leave_nothing_behind(clock):
    """However often leases are renewed and connections come and go, the heap has few places beyond one for each."""
    store, ann = ExpiringStore(600.0, timer=clock), Thing()
    store.put(ANN, ann)
    for number in range(5000):
        clock.advance(0.01)
        store.get(ANN)
        store.renew(ann)
        store.put(ANN, ann)
        brief = Thing()
        store.put(("default", ("lobby", number)), brief)
        store.purge_connection(brief)
        assert len(store.leases._heap) < 100
    clock.advance(600.0)
    assert store.expire()
    assert (store.next_expiry(), store.leases._heap) == (None, [])
    watch = weakref.ref(brief)
    del brief
    gc.collect()
    assert watch() is None


def test_a_connection_that_left_is_kept_nowhere(clock):
    """Whatever the cause, the store has no reference to a connection that has left."""
    store = ExpiringStore(10.0, timer=clock, maxsize=1, on_full="evict", same_key="replace")
    watches = []
    for leave in (
        lambda: store.purge(ANN),
        lambda: store.put(ANN, object()),
        lambda: store.put(BRIAN, object()),
        lambda: clock.advance(10.0) or store.expire(),
    ):
        thing = Thing()
        watches.append(weakref.ref(thing))
        store.put(ANN, thing)
        del thing
        leave()
    gc.collect()
    assert [watch() for watch in watches] == [None] * 4


# -- settings


@pytest.mark.parametrize("ttl", [0, -1.0, float("inf"), float("nan"), "10", None, True])
def test_a_ttl_is_a_number_of_seconds(ttl):
    """A lease that never ends, has ended already or is no number is refused, for a category too."""
    with pytest.raises(ValueError, match=r"^ttl is a number of seconds above 0"):
        ExpiringStore(ttl)
    if ttl is not None:
        with pytest.raises(ValueError, match=r"at category\.ttl: must be (from 100ms|.*seconds)"):
            ExpiringStore(categories={"lobby": CategoryRules(ttl=ttl)})


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"expiry": "slidng"},
            r"expiry is one of sliding, fixed, not 'slidng'; did you mean 'sliding'",
        ),
        ({"renewed_by": {"acks"}}, "renewed_by is one of request, ack, not 'acks'"),
        ({"renewed_by": "ack"}, r"renewed_by is a set of words, such as \{'ack'\}"),
    ],
)
def test_a_wrong_setting_is_an_error_that_names_it(options, text):
    """A setting of leases outside its range is refused when the store is made, with the right words."""
    with pytest.raises(ValueError, match=text):
        ExpiringStore(**options)


def test_a_wrong_expiry_of_a_category_is_an_error_that_names_it():
    """The rules of a category are refused when they are made, with the right words."""
    with pytest.raises(ValueError, match=r"category\.expiry: .*did you mean 'fixed'"):
        CategoryRules(expiry="fix")


def test_it_says_what_it_has(clock):
    """The repr has the lease's kind and length beside the rest."""
    store = ExpiringStore(90.0, timer=clock)
    store.put(ANN, Thing())
    expected = "<ExpiringStore: 1 connections under 1 keys, sliding leases of 90 s, join, maxsize 10000, refuse>"
    assert repr(store) == expected
