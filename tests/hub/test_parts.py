"""Presence and history in a hub: wired as the configuration says, and following the store."""

import asyncio

import pytest

from sfere_tornado import (
    ANY,
    Hub,
    HubConfig,
    Key,
    Registry,
    StoreConfig,
    StreamConfig,
    broadcast,
    send,
    with_connection,
)
from sfere_tornado.config import GraceConfig, HistoryConfig, KeepConfig, PresenceConfig, parse
from sfere_tornado.dispatch import fail_fast
from sfere_tornado.effects.visit import visit_of
from sfere_tornado.errors import EventTooLargeError, HubError, RegistryError
from sfere_tornado.history import Keep
from sfere_tornado.presence import MAX_MEMBERS, Grace
from sfere_tornado.presence.effects import presence_state
from sfere_tornado.testing import FakeClock
from sfere_tornado.testing.recording import recording_connection

LOBBY = (ANY, ("lobby", ANY))


def key(name, category="lobby"):
    return Key("default", (category, name))


class World:
    """A hub on a clock of the test, and its clients without sockets."""

    def __init__(self, *, registries=(), **config):
        self.clock = FakeClock()
        self.hub = Hub(HubConfig(**config), timer=self.clock, registries=registries)
        self.changes = []
        if self.hub.streams.feed is not None:
            self.hub.on_presence(
                lambda change: self.changes.append((change.kind, change.key.id, change.reason))
            )

    def enter(self, name, category="lobby", **data):
        """Open a stream, as the web room does."""
        connection, transport = recording_connection(on_end=self.ended)
        self.hub.dispatcher.dispatch(
            [("nothing",)],
            system={"sse": connection},
            dispatch_data={"key": (category, name), **data},
        )
        return connection, transport

    def ended(self, connection):
        self.hub.streams.end(connection)
        self.hub.dispatch([("sse_closed",)], system={"sse": connection})

    def pass_time(self, seconds):
        self.clock.advance(seconds)
        self.hub.clock.tick()

    def told(self):
        told, self.changes[:] = list(self.changes), []
        return told


NOTHING = Registry("nothing")
NOTHING.effect("nothing")(lambda ctx: None)


def world(**config):
    return World(registries=[NOTHING], **config)


# -- what the configuration says


def test_without_sections_there_are_neither():
    """A hub has no presence and no history unless it is told to; asking for them says what to write."""
    hub = Hub()
    assert (hub.streams.feed, hub.serving.history) == (None, None)
    with pytest.raises(HubError, match="section presence"):
        hub.on_presence(print)
    with pytest.raises(HubError, match="section presence"):
        hub.presence.roster()
    with pytest.raises(HubError, match="section history"):
        hub.history.cursor()
    assert hub.dispatcher.describe("leave") is None


def test_an_empty_section_is_enough():
    """``presence: {}`` and ``history: {}`` have all the defaults, which are those of the rooms."""
    hub = Hub(parse("presence: {}\nhistory: {}\n"))
    assert (hub.presence.grace, hub.presence.categories) == (Grace(), {})
    assert (hub.history.keep, hub.history.categories) == (Keep(), {})
    assert hub.history.cursor() == f"0-{hub.history.tag}"


def test_every_setting_reaches_its_room():
    """What is given counts, for all and for a category over that; what is not given is the default."""
    text = """
presence:
  grace: {client: 9s, hidden: 1m}
  categories:
    ticket: {client: 1s, leave: 3s}
history:
  count: 7
  age: 1m
  bytes: 2KiB
  categories:
    ticket: {count: 0}
    lobby: {age: 2m}
stream:
  max_event_size: 4KiB
"""
    hub = Hub(parse(text))
    assert hub.presence.grace == Grace(client=9.0, hidden=60.0)
    assert hub.presence.categories == {"ticket": Grace(client=1.0, hidden=60.0, leave=3.0)}
    assert hub.history.keep == Keep(count=7, age=60.0, bytes=2048)
    assert hub.history.categories == {
        "ticket": Keep(count=0, age=60.0, bytes=2048),
        "lobby": Keep(count=7, age=120.0, bytes=2048),
    }
    assert hub.history.max_event_size == 4096
    every = GraceConfig(**dict.fromkeys(GraceConfig.__slots__, 2.0))
    grace = Hub(HubConfig(presence=PresenceConfig(grace=every))).presence.grace
    assert {getattr(grace, name) for name in GraceConfig.__slots__} == {2.0}
    assert grace.shutdown is None


def test_the_rooms_have_the_hubs_clocks():
    """Ages are counted on the clock that the hub was given; graces, like leases, not while the process stands still."""
    made = world(presence=PresenceConfig(), history=HistoryConfig())
    assert made.hub.history.timer is made.clock
    assert made.hub.presence.timer is made.hub.clock.leases


def test_presence_is_as_large_as_the_store_asks_for():
    """By default there is room for five times the connections of a store of default size, and for a larger one as well."""
    for size, members in ((10, MAX_MEMBERS), (10_000, 50_000), (20_000, 100_000)):
        hub = Hub(HubConfig(presence=PresenceConfig(), store=StoreConfig(maxsize=size)))
        assert hub.presence.max_members == members


def pass_time(clock, hub, seconds):
    """Let time pass and the hub's alarm ring whenever it is due, as an event loop that stands still at no time does."""
    until = clock() + seconds
    while (due := max(0.0, hub.clock.due_in())) <= until - clock():
        clock.advance(due)
        hub.clock.tick()
    clock.advance(until - clock())


@pytest.mark.parametrize("stop", [3.0, 10.0, 3600.0])
def test_no_grace_ends_while_the_process_stands_still(stop):
    """Who was waited for when the process was stopped may come back for as long as was left; whoever does leaves no trace."""
    made = world(presence=PresenceConfig(), store=StoreConfig(ttl=86_400.0))

    async def stopped():
        hub, clock = made.hub, made.clock
        leases = hub.clock.leases
        ann, _ = made.enter("ann")
        brian, _ = made.enter("brian")
        made.enter("phil")
        pass_time(clock, hub, 30)
        made.told()
        for connection in (ann, brian):
            connection.end("client")
        pass_time(clock, hub, 2)
        leases.set_due(clock, clock() + max(0.0, hub.clock.due_in()))
        clock.advance(stop)
        leases.ring(late=True)
        hub.clock.tick()
        assert (made.told(), [member.key.id for member in hub.presence.roster()]) == (
            [],
            ["ann", "brian", "phil"],
        )
        made.enter("ann")
        # Three seconds of the grace were left, of which the stop has cost no more than one reading of the clock.
        pass_time(clock, hub, 1.9)
        assert made.told() == []
        pass_time(clock, hub, 1.2)
        assert made.told() == [("left", "brian", "client")]

    asyncio.run(stopped())


def test_the_callback_is_a_plain_function():
    """A coroutine function would never be awaited; it is refused at once, and so is what cannot be called."""

    async def later(change):
        pass

    hub = Hub(HubConfig(presence=PresenceConfig()))
    for wrong in (later, "later", None):
        with pytest.raises(RegistryError, match="on_presence"):
            hub.on_presence(wrong)
    callback = hub.on_presence(lambda change: None)
    assert callback(None) is None


# -- presence follows the store


def test_coming_and_going_is_announced():
    """The newcomer gets the state, the others the diff; a departure is told by the hub's tick, after the grace."""
    made = world(presence=PresenceConfig())
    phil, _ = made.enter("phil")
    brian, transport = made.enter("brian", presence={"tab": "t1"})
    assert made.told() == [("joined", "phil", None), ("joined", "brian", None)]
    assert [event.event for event in transport.events()] == ["presence_state"]
    phil.end("client")
    made.pass_time(4.9)
    assert made.told() == []
    assert made.hub.clock.due_in() == pytest.approx(0.1)
    made.pass_time(0.1)
    assert made.told() == [("left", "phil", "client")]
    assert [event.event for event in transport.events()] == ["presence_state", "presence_diff"]
    assert brian.reason is None


def test_without_announcing_there_are_only_callbacks():
    """``announce: false`` sends nobody anything; the effect for the state can still be asked for."""
    made = world(presence=PresenceConfig(announce=False))
    _, transport = made.enter("phil")
    connection, _ = made.enter("brian")
    connection.end("revoked")
    assert made.told() == [
        ("joined", "phil", None),
        ("joined", "brian", None),
        ("left", "brian", "revoked"),
    ]
    assert transport.events() == []
    made.hub.dispatch(with_connection(key("phil"), presence_state(key("phil"))))
    assert [event.event for event in transport.events()] == ["presence_state"]


def test_a_callback_may_return_effects():
    """They are dispatched when the others have been called."""
    made = world(presence=PresenceConfig(announce=False))
    made.hub.on_presence(lambda change: broadcast(LOBBY, send(f"{change.key.id} {change.kind}")))
    _, transport = made.enter("phil")
    made.enter("brian")
    assert [event.data for event in transport.events()] == ["phil joined", "brian joined"]


def test_who_loses_one_of_two_keys_has_left_that_place():
    """A connection that the store lets go of under one key, and keeps under another, departs from the one only."""
    made = world(presence=PresenceConfig())
    connection, _ = made.enter("ann")
    made.hub.dispatcher.dispatch(
        [("nothing",)], system={"sse": connection}, dispatch_data={"key": ("kitchen", "ann")}
    )
    made.told()
    made.hub.store.purge(key("ann"))
    assert made.told() == [("left", "ann", "revoked")]
    assert connection.reason is None
    assert [str(member.key) for member in made.hub.presence.roster()] == ["default/kitchen/ann"]


def test_a_replaced_stream_is_no_departure():
    """The store lets go of the old one first; the member is here all the time, in whatever row they come."""
    made = world(presence=PresenceConfig(), store=StoreConfig(same_key="replace"))
    _, transport = made.enter("phil")
    for number in range(3):
        last, _ = made.enter("brian", presence={"tab": f"t{number}"})
    assert made.told() == [("joined", "phil", None), ("joined", "brian", None)]
    assert [event.event for event in transport.events()] == ["presence_state", "presence_diff"]
    (member,) = made.hub.presence.roster((ANY, ("lobby", "brian")))
    assert [meta.tab for meta in member.metas] == ["t2"]
    last.end("client")
    made.pass_time(5)
    assert made.told() == [("left", "brian", "client")]


def test_a_successor_that_never_arrives(caplog):
    """Where the newer stream is refused after it took the place, the member has left when both are gone, once."""
    made = world(presence=PresenceConfig(), store=StoreConfig(same_key="replace"))
    made.enter("brian")
    second, _ = made.enter("brian", presence=lambda: 1 / 0)
    assert made.hub.presence.member(key("brian")) is not None
    third, _ = made.enter("brian", presence=lambda: 1 / 0)
    assert (second.reason, made.told()) == ("replaced", [("joined", "brian", None)])
    third.end("error")
    assert made.told() == [("left", "brian", "replaced")]
    assert made.hub.presence.roster() == []
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 2


def test_a_lease_that_ends_is_a_departure():
    """The store's tick and the room's are one: who is past the lease has left at once."""
    made = world(presence=PresenceConfig(), store=StoreConfig(ttl=30.0))
    made.enter("brian")
    made.pass_time(30)
    assert made.told() == [("joined", "brian", None), ("left", "brian", "expired")]


# -- history behind what is sent


def test_broadcasts_and_what_is_sent_to_a_key_are_kept():
    """Each gets the next id, whether anybody is there or not; what is sent to one stream only is not kept."""
    made = world(history=HistoryConfig())
    hub, tag = made.hub, made.hub.history.tag
    connection, transport = made.enter("ann")
    hub.dispatch(broadcast(LOBBY, send("to all")))
    hub.dispatch(with_connection(key("ann"), send("to ann")))
    hub.dispatch(with_connection(key("brian"), send("to nobody")))
    hub.dispatch(send("to this stream"), system={"sse": connection})
    hub.dispatch(broadcast(LOBBY, send("to each"), each=True))
    assert [(event.data, event.id) for event in transport.events()] == [
        ("to all", f"1-{tag}"),
        ("to ann", f"2-{tag}"),
        ("to this stream", f"2-{tag}"),
        ("to each", f"2-{tag}"),
    ]
    assert (len(hub.history), hub.history.cursor()) == (3, f"3-{tag}")


def test_a_category_without_history_is_as_before():
    """Its events have no id, may have their own, and what is sent to an absent key is sent to nobody."""
    made = world(history=HistoryConfig(categories={"lobby": KeepConfig(count=0)}))
    _, transport = made.enter("ann")
    made.hub.dispatch(broadcast(LOBBY, send("mine", id="own")))
    made.hub.dispatch(with_connection(key("brian"), send("to nobody")))
    assert [event.id for event in transport.events()] == ["own"]
    assert len(made.hub.history) == 0


def test_what_cannot_be_kept_is_an_error_to_the_sender(caplog):
    """An event with an id of its own, or too large a one, is refused before anybody gets it."""
    made = world(history=HistoryConfig(), stream=StreamConfig(max_event_size=1024))
    _, transport = made.enter("ann")
    for effect, error in (
        (send("x", id="mine"), "history"),
        (send("x" * 2000), EventTooLargeError),
    ):
        told = made.hub.dispatch([broadcast(LOBBY, effect)])
        (found,) = told.results[0].value.errors
        assert (
            error in str(found.exception)
            if isinstance(error, str)
            else isinstance(found.exception, error)
        )
    assert (transport.events(), len(made.hub.history)) == ([], 0)


def test_where_live_events_begin_is_noted_when_it_is_stored():
    """The opener learns the place in the sequence of the very moment in which events begin to reach the stream."""
    seen = []
    registry = Registry("look")
    registry.effect("nothing")(
        lambda ctx: seen.append(visit_of(ctx).mark if visit_of(ctx) else None)
    )
    made = World(registries=[registry], history=HistoryConfig())
    for _ in range(3):
        made.hub.dispatch(broadcast(LOBBY, send("x")))
    made.enter("ann")
    made.hub.dispatch(("nothing",))
    assert seen == [3, None]


def test_fail_fast_and_presence_go_together():
    """An interceptor around everything sees the announcements too, and loses none."""
    clock = FakeClock()
    hub = Hub(
        HubConfig(presence=PresenceConfig()),
        timer=clock,
        interceptors=[fail_fast],
        registries=[NOTHING],
    )
    changes = []
    hub.on_presence(changes.append)
    connection, _ = recording_connection()
    hub.dispatcher.dispatch(
        [("nothing",)], system={"sse": connection}, dispatch_data={"key": ("lobby", "ann")}
    )
    assert [change.kind for change in changes] == ["joined"]
