"""Callbacks that cause other changes, and stages that wait: one order of changes for all."""

import asyncio
import random

import pytest
from support.census import SOAK, leave_all
from support.lobby import Lobby, Named, Page, key
from support.waiting import eventually

from sfere_tornado import SSEHandler, leave

#: Short visits of the battery with stages that wait.
VISITS = 60 * SOAK


class Book:
    """What one callback makes of the changes that it is told: who is here, and away or not."""

    def __init__(self):
        self.members, self.changes = {}, []

    def __call__(self, change):
        name = change.key.id
        self.changes.append((change.kind, name))
        if change.kind == "left":
            del self.members[name]
            return
        assert (name in self.members) is (change.kind != "joined"), f"{change.kind} {name}"
        self.members[name] = change.away


def truth(hub):
    return {member.key.id: member.away for member in hub.presence.roster()}


@pytest.mark.parametrize("place", ["on_presence", "on_evict"])
@pytest.mark.gen_test(timeout=20)
async def test_all_callbacks_read_one_order(serve, place):
    """A callback that lets another member leave is between two that keep book: both books are the truth."""
    lobby = Lobby()
    hub = lobby.hub
    first, second = Book(), Book()

    def causes(change):
        if place == "on_presence" and change.key.id == "ann" and change.kind in {"away", "left"}:
            hub.dispatch(leave(key("bob")))

    hub.on_presence(first)
    hub.on_presence(causes)
    hub.on_presence(second)

    @hub.on_evict
    def evicted(evicted_key, connection, cause):
        if place == "on_evict" and evicted_key.id == "ann":
            hub.dispatch(leave(key("bob")))

    lobby.url = serve(lobby.app)
    census = serve.census(hub)
    clients = [await lobby.enter(name, tab=name) for name in ("ann", "bob", "cecil")]
    page = Page().take([await clients[2].event("presence_state")])
    clients[0].close()
    await eventually(lambda: len(hub.streams) < 3)
    lobby.pass_time(10)
    assert lobby.state("bob") == "gone"
    page.take(await clients[2].quiet())
    assert first.changes == second.changes
    assert first.members == second.members == truth(hub) == {"cecil": False}
    assert page.roster == {"cecil": False}
    await leave_all(clients)
    await eventually(lambda: not hub.streams)
    lobby.pass_time(10)
    await census.empty()


@pytest.mark.parametrize("kinds", [{"request", "opening"}, {"application", "closing"}])
@pytest.mark.gen_test(timeout=30 + 10 * SOAK)
async def test_stages_that_wait_change_no_order(serve, kinds, caplog):
    """After many short visits a watcher's roster is the truth; where order matters a stage is refused."""
    chance = random.Random(12)

    async def wait():
        await asyncio.sleep(chance.random() * 0.003)

    def stage(ctx):
        return wait() if ctx.kind in kinds else None

    class Events(Named, SSEHandler):
        pass

    lobby = Lobby(Events, interceptors=[{"id": "waits", "before_dispatch": stage}])
    hub = lobby.hub
    books = [Book(), Book()]
    for book in books:
        hub.on_presence(book)
    lobby.url = serve(lobby.app)
    census = serve.census(hub)
    watcher = await lobby.enter("watcher", tab="w")
    page = Page().take([await watcher.event("presence_state")])
    gate = asyncio.Semaphore(20)

    async def visit(number):
        async with gate:
            client = await lobby.enter(f"visitor-{number % 20}", tab=f"t{number}")
            await asyncio.sleep(chance.random() * 0.005)
            client.close()

    await asyncio.gather(*(visit(number) for number in range(VISITS)))
    await eventually(lambda: len(hub.streams) == 1)
    lobby.pass_time(10)
    page.take(await watcher.quiet(0.2))
    assert page.roster == truth(hub) == {"watcher": False}
    assert books[0].members == books[1].members == {"watcher": False}
    assert books[0].changes == books[1].changes
    watcher.close()
    await eventually(lambda: not hub.streams)
    lobby.pass_time(10)
    await census.empty()
