"""Store, presence and dispatcher without sockets, and clients that record what they are sent."""

import json
from math import inf

from sfere_tornado import ANY, Key, MemoryStore, sse_closed
from sfere_tornado.dispatch import Dispatcher
from sfere_tornado.effects.keyed import KeyedEffects
from sfere_tornado.effects.streams import StreamEffects
from sfere_tornado.presence import Presence
from sfere_tornado.presence.announcer import Announcer
from sfere_tornado.presence.effects import PresenceEffects
from sfere_tornado.presence.feed import PresenceFeed
from sfere_tornado.testing import FakeClock
from sfere_tornado.testing.recording import recording_connection

LOBBY = (ANY, ("lobby", ANY))


def key(name, category="lobby", scope="default"):
    return Key(scope, (category, name))


class House:
    """Store, presence and dispatcher, wired as in a hub; streams that end are dispatched as in web."""

    def __init__(
        self, *, interceptors=(), registries=(), grace=None, store=None, on_change=(), **options
    ):
        self.clock = FakeClock()
        self.presence = Presence(
            grace, timer=self.clock, max_members=options.pop("max_members", 1000)
        )
        self.store = MemoryStore() if store is None else store
        self.store.on_removal = self.close_removed
        self.changes = []
        self.waits = options.pop("on_wait", lambda: None)
        announcer = Announcer(self.presence, self.store, set_alarm=self.wait, **options)
        self.feed = PresenceFeed(
            self.presence, self.store, self.again, announcer, set_alarm=self.wait
        )
        for callback in on_change or [self.changes.append]:
            self.feed.add_callback(callback)
        self.dispatcher = Dispatcher(
            [
                StreamEffects(),
                KeyedEffects(self.store, presence=self.feed),
                PresenceEffects(self.feed),
                *registries,
            ],
            interceptors=interceptors,
        )
        self.dispatch = self.dispatcher.dispatch

    def wait(self):
        self.waits()

    def again(self, effects):
        """Dispatch what a callback returned."""
        self.dispatcher.dispatch(effects)

    def close_removed(self, removal):
        if not self.store.keys_of(removal.connection):
            removal.connection.close(
                reconnect=False, reason="replaced" if removal.cause == "replaced" else "server"
            )

    def enter(self, name, *, effects=(), category="lobby", conflate=False, **meta):
        """Open a stream, with effects in the middle of its dispatch; returns its client."""
        connection, transport = recording_connection(
            on_end=self.ended, opened=False, conflate=conflate
        )
        told = self.dispatch(
            [*effects, ("sse_opened_here",)] if effects else None,
            system={"sse": connection, "answer": None},
            dispatch_data={"key": (category, name), "presence": meta},
        )
        if connection.reason is None:
            connection.open(transport)
        return Client(connection, transport, told)

    def add_key(self, connection, name, category="lobby"):
        """Store an open connection under another key, too."""
        self.store.put(key(name, category), connection)
        self.feed.arrive(key(name, category), connection, {})

    def ended(self, connection):
        """Do what the hub does at the end of a stream."""
        self.dispatch([sse_closed()], system={"sse": connection})
        self.feed.depart(connection)

    def expire(self, seconds=0.0):
        """Let time pass, and do what the hub's tick does."""
        self.clock.advance(seconds)
        while self.next_due() <= self.clock():
            self.feed.expire()

    def next_due(self):
        """Return when something is due next, as the hub's timer asks."""
        expiry = self.presence.next_expiry()
        return min(inf if expiry is None else expiry, self.feed.announcer.due)

    def kinds(self):
        """Return the changes since the last look, as the callback got them."""
        changes, self.changes[:] = list(self.changes), []
        return [(change.kind, change.key.id) for change in changes]


class Client:
    """What a client makes of the events: a roster, from states and diffs."""

    def __init__(self, connection, transport, told):
        self.connection, self.transport, self.told = connection, transport, told

    def events(self):
        return [(event.event, json.loads(event.data)) for event in self.transport.events()]

    def kinds(self):
        return [event.event for event in self.transport.events()]

    def roster(self):
        """Return ids, and who is away; no diff before the state, nothing twice."""
        members = None
        for name, data in self.events():
            if name == "presence_state":
                members = {} if data["part"] == 1 else members
                assert members is not None
                members.update({each: member["away"] for each, member in data["members"].items()})
            elif name == "presence_diff":
                assert members is not None, "a diff came before the state"
                for each in data["leaves"]:
                    del members[each]
                members.update({each: member["away"] for each, member in data["joins"].items()})
        return members
