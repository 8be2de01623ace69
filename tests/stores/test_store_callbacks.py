"""The order of callbacks: what fails, what interrupts, and what goes on for ever."""

import asyncio
import logging

import pytest

from sfere_tornado.stores import MAX_CALLBACKS_IN_A_ROW, ExpiringStore, MemoryStore
from sfere_tornado.testing import FakeClock

KEYS = [("default", ("lobby", number)) for number in range(4)]


def full(store):
    """Fill a store: one connection under each key."""
    for key in KEYS:
        store.put(key, object())
    return store


def test_a_failing_callback_is_logged_once_and_loses_nothing(caplog):
    """An exception in a callback is logged with its traceback; the entry is gone, and the others are told."""
    store = full(MemoryStore())
    told = []

    def fail(removal):
        told.append(removal.key)
        if removal.key == KEYS[1]:
            raise LookupError("no such room")

    store.on_removal = fail
    store.on_evict = lambda key, connection, cause: told.append(cause)
    assert [removal.key for removal in store.clear()] == KEYS
    assert told == [each for key in KEYS for each in (key, "explicit")]
    assert len(store) == 0
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("sfere_tornado.stores", "ERROR")
    assert "MemoryStore" in record.getMessage()
    assert record.exc_info[0] is LookupError


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError, GeneratorExit, SystemExit, StopIteration]
)
def test_no_exception_of_a_callback_stops_the_others(caplog, error):
    """Only a KeyboardInterrupt passes; what else a callback raises is logged, in every callback."""
    store = MemoryStore()
    called = []

    def fail(*arguments):
        called.append(arguments)
        raise error

    store.on_put = store.on_removal = store.on_evict = fail
    full(store)
    store.clear()
    assert len(called) == len(caplog.records) == 3 * len(KEYS)
    assert store.next_expiry() is None


def test_an_interruption_passes_and_the_rest_waits():
    """KeyboardInterrupt reaches the caller; what it kept from being told is told by the next call, each once."""
    store = full(MemoryStore())
    told = []

    def interrupt(removal):
        told.append(removal.key)
        if removal.key == KEYS[1]:
            raise KeyboardInterrupt

    store.on_removal = interrupt
    store.on_evict = lambda key, connection, cause: told.append(key)
    with pytest.raises(KeyboardInterrupt):
        store.clear()
    assert told == [KEYS[0], KEYS[0], KEYS[1]]
    assert store.peek(KEYS[0]) == ()
    assert told == [KEYS[0], KEYS[0], KEYS[1], KEYS[1], KEYS[2], KEYS[2], KEYS[3], KEYS[3]]


@pytest.mark.parametrize("call", ["get", "purge", "put", "count", "expire", "len"])
def test_every_call_tells_what_waits(call):
    """Whatever is called next, what waits is told."""
    store = full(MemoryStore())
    told = []

    def interrupt(removal):
        told.append(removal.key)
        if len(told) == 1:
            raise KeyboardInterrupt

    store.on_removal = interrupt
    with pytest.raises(KeyboardInterrupt):
        store.clear()
    calls = {
        "get": lambda: store.get(KEYS[0]),
        "purge": lambda: store.purge(KEYS[0]),
        "put": lambda: store.put(KEYS[0], object()),
        "count": store.count,
        "expire": store.expire,
        "len": lambda: len(store),
    }
    calls[call]()
    assert told == KEYS


def test_a_callback_for_ever_does_not_hold_the_process_up(caplog):
    """A callback that causes the next for ever is stopped at the bound, and goes on with the next call."""
    store = ExpiringStore(maxsize=2, timer=FakeClock())
    called = []

    def again(key, connection, cause):
        called.append(key)
        if len(called) < MAX_CALLBACKS_IN_A_ROW + 5:
            store.put(key, connection)
            store.purge(key)

    store.on_evict = again
    store.put(KEYS[0], object())
    store.purge(KEYS[0])
    assert len(called) == MAX_CALLBACKS_IN_A_ROW
    assert "1 more wait" in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    # What waits is due now, so that the hub's timer gets on with it.
    assert store.next_expiry() == store.timer()
    assert len(called) == MAX_CALLBACKS_IN_A_ROW + 5
    assert store.next_expiry() is None


def test_a_large_store_may_empty_in_one_call():
    """The bound grows with the store: clearing one larger than the default tells everybody."""
    store = MemoryStore(maxsize=11_000)
    told = []
    store.on_removal = told.append
    store.on_evict = lambda key, connection, cause: told.append(key)
    connection = None
    for number in range(11_000):
        connection = object()
        store.put(("default", ("lobby", number)), connection)
    store.clear()
    assert len(told) == 22_000
