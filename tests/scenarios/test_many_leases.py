"""Leases that end together end in slices, so that the loop serves others in between."""

import asyncio
from collections import Counter

import pytest

from sfere_tornado import Hub, HubConfig, StoreConfig
from sfere_tornado.testing import FakeClock
from sfere_tornado.testing.recording import recording_connection

#: Leases that end in one moment.
LEASES = 2_000

#: Evictions that one turn of the loop may bring, so that nothing else waits for long.
MOST_A_TURN = 500


@pytest.mark.gen_test(timeout=20)
async def test_leases_that_end_together_end_in_slices():
    """Of two thousand callbacks no turn of the loop runs more than a part, and each runs once."""
    clock = FakeClock()
    hub = Hub(HubConfig(store=StoreConfig(ttl=60.0)), timer=clock)
    turn, evicted = [0], []
    hub.on_evict(lambda key, connection, cause: evicted.append((key.id, turn[0])))
    for number in range(LEASES):
        connection, _ = recording_connection()
        hub.store.put(("default", ("lobby", str(number))), connection)
    hub.start()
    clock.advance(61)
    hub.clock.tick()
    while len(evicted) < LEASES and turn[0] < LEASES:
        await asyncio.sleep(0)
        turn[0] += 1
        hub.clock.tick()
    await hub.stop()
    assert sorted(int(name) for name, _ in evicted) == list(range(LEASES))
    assert max(Counter(number for _, number in evicted).values()) <= MOST_A_TURN
