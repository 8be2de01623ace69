"""What the hub does with those who leave its store: closing them, and telling the application."""

import pytest
from support.logs import raised

from sfere_tornado import Key, MemoryStore
from sfere_tornado.errors import RegistryError
from sfere_tornado.hub.departures import Departures, check_callback
from sfere_tornado.stores import ExpiringStore
from sfere_tornado.testing import FakeClock
from sfere_tornado.testing.recording import recording_connection


def key(name, category="lobby"):
    return Key("default", (category, name))


def enter(store, name, category="lobby"):
    connection, transport = recording_connection()
    store.put(key(name, category), connection)
    return connection, transport


@pytest.mark.parametrize(
    ("cause", "reason", "ending"),
    [
        ("explicit", "server", "finished"),
        ("expired", "expired", "aborted"),
        ("replaced", "replaced", "finished"),
        ("size", "server", "aborted"),
    ],
)
def test_each_cause_has_its_ending(cause, reason, ending):
    """Who may come back is cut; who shall not come back is told to stay away."""
    clock = FakeClock()
    store = ExpiringStore(10.0, timer=clock, maxsize=1, on_full="evict", same_key="replace")
    Departures(store, close=True)
    connection, transport = enter(store, "brian")
    if cause == "explicit":
        store.purge(key("brian"))
    elif cause == "expired":
        clock.advance(10)
        store.expire()
    else:
        enter(store, "brian" if cause == "replaced" else "phil")
    assert (connection.reason, transport.ending) == (reason, ending)


def test_one_key_of_two_lost_is_told_and_closes_nothing():
    """A connection that keeps a key stays open; whoever wants to know is told which one it has lost."""
    store = MemoryStore()
    departures = Departures(store, close=True)
    connection, transport = enter(store, "brian")
    store.put(key("brian", "kitchen"), connection)
    store.put(key("brian", "garden"), connection)
    store.purge(key("brian", "garden"))
    kept = []
    departures.on_kept = lambda *left: kept.append(left)
    store.purge(key("brian"))
    assert kept == [(key("brian"), connection, "explicit")]
    assert transport.ending is None
    store.purge(key("brian", "kitchen"))
    assert transport.ending == "finished"
    assert len(kept) == 1


def test_nobody_is_closed_while_that_is_switched_off():
    """While the hub drains, and with close_on_evict: false, leaving the store ends no stream; it is told all the same."""
    store = MemoryStore()
    departures = Departures(store, close=False)
    told = []
    departures.add(lambda key, connection, cause: told.append((key.id, cause)))
    _, transport = enter(store, "brian")
    store.clear()
    assert (transport.ending, told) == (None, [("brian", "explicit")])
    assert repr(departures) == "<Departures: 1 callbacks, not closing>"


def test_callbacks_are_told_in_order_whatever_one_of_them_does(caplog):
    """One that fails is logged, with its name, and keeps nobody from being told."""
    store = MemoryStore()
    departures = Departures(store, close=True)
    told = []

    @departures.add
    def first(key, connection, cause):
        told.append("first")

    @departures.add
    def failing(key, connection, cause):
        raise ZeroDivisionError

    departures.add(lambda key, connection, cause: told.append("last"))
    enter(store, "brian")
    store.purge(key("brian"))
    assert told == ["first", "last"]
    assert [
        ("failing" in record.getMessage()) for record in raised(caplog, "ZeroDivisionError")
    ] == [True]
    assert repr(departures) == "<Departures: 3 callbacks, closing>"


def test_a_callback_that_would_never_run_is_refused():
    """Nobody awaits it; the error names what was being registered, and what to do."""

    async def later(key, connection, cause):
        pass

    for wrong in (later, "left", None):
        with pytest.raises(
            RegistryError, match=r"on_evict takes a plain function.*dispatch an effect"
        ):
            Departures(MemoryStore(), close=True).add(wrong)
    assert check_callback(print, "on_evict") is None


class Unguarded(MemoryStore):
    """A store of an application, which calls its callbacks directly."""

    def purge(self, key):
        removals = [*self.peek(key)]
        for connection in removals:
            self.on_evict(key, connection, "explicit")
        return []


@pytest.mark.parametrize("callbacks", [1, 2])
def test_what_a_callback_raises_reaches_no_store(callbacks, caplog):
    """It is logged, also where the store guards nothing, and whether it is the only one or not."""
    store = Unguarded()
    departures = Departures(store, close=True)
    calls = []

    def fail(key, connection, cause):
        calls.append(key.id)
        raise OSError("no disk")

    for _ in range(callbacks):
        departures.add(fail)
    enter(store, "brian")
    store.purge(key("brian"))
    assert calls == ["brian"] * callbacks
    assert len(caplog.records) == callbacks
