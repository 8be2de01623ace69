"""A lobby with presence and history on a clock that a test moves, and what it says of its members."""

import json
from urllib.parse import urlencode

from tornado.web import Application

from sfere_tornado import (
    ANY,
    DEFAULT_SCOPE,
    Hub,
    HubConfig,
    Key,
    SSEHandler,
    StoreConfig,
    StreamConfig,
    broadcast,
    send,
)
from sfere_tornado.config import HistoryConfig, PresenceConfig
from sfere_tornado.testing import FakeClock, StreamClient
from sfere_tornado.web.signs import ScriptHandler, SignHandler

LOBBY = (ANY, ("lobby", ANY))

#: A lease that ends in no test which is not about leases.
LONG = StoreConfig(ttl=86_400.0)

PRESENCE, HISTORY = PresenceConfig(), HistoryConfig()


def key(name):
    return Key(DEFAULT_SCOPE, ("lobby", name))


class Named:
    """A handler whose client says its name in the query."""

    def connection_key(self):
        return ("lobby", self.get_query_argument("name"))


class Events(Named, SSEHandler):
    pass


class Signs(Named, SignHandler):
    pass


class Lobby:
    """The application; served by the test, at ``url``."""

    def __init__(
        self,
        events=Events,
        *,
        store=LONG,
        stream=None,
        presence=PRESENCE,
        history=HISTORY,
        timer=None,
        routes=(),
        **arguments,
    ):
        self.clock = FakeClock()
        config = HubConfig(
            store=store, stream=stream or StreamConfig(), presence=presence, history=history
        )
        self.hub = Hub(config, timer=timer or self.clock, **arguments)
        #: What the callback was told: kind, name, reason, who remains.
        self.changes = []
        if presence is not None:
            self.hub.on_presence(self._note)
        paths = [("/events", events), ("/signs", Signs), ("/sfere.js", ScriptHandler), *routes]
        self.app = Application(paths, sfere=self.hub)
        self.url = ""
        #: All clients that :meth:`enter` returned.
        self.clients = []

    def _note(self, change):
        names = [other.id for other in change.remaining]
        self.changes.append((change.kind, change.key.id, change.reason, names))

    async def enter(self, name, *, last=None, url=None, **query):
        """Open a stream; ``last`` is sent as ``Last-Event-ID``."""
        headers = {} if last is None else {"Last-Event-ID": last}
        client = await StreamClient.open(
            f"{url or self.url}/events?{urlencode({'name': name, **query})}", headers=headers
        )
        self.clients.append(client)
        return client

    async def sign(self, name, *, path="/signs", headers=None, **fields):
        """Send a sign, as the script does; returns the status."""
        async with await StreamClient.open(
            f"{self.url}{path}?{urlencode({'name': name})}",
            method="POST",
            headers={"Content-Type": "application/x-www-form-urlencoded", **(headers or {})},
            body=urlencode(fields).encode(),
        ) as answer:
            return answer.status

    def say(self, data, to=LOBBY, **options):
        """Broadcast an event of the type ``said``."""
        return self.hub.dispatch(broadcast(to, send(data, event="said"), **options))

    def pass_time(self, seconds):
        """Let time pass, and do what is due."""
        self.clock.advance(seconds)
        self.hub.clock.tick()
        while self.hub.clock.due_in() <= 0:
            self.hub.clock.tick()

    def state(self, name):
        """Return what the roster says of a member: here, away or gone."""
        member = self.hub.presence.member(key(name))
        return "gone" if member is None else "away" if member.away else "here"

    def told(self, kind):
        """Return the names of whom the callback was told so."""
        return [name for what, name, *_ in self.changes if what == kind]


class Page:
    """What a page makes of presence events: a roster; an event that does not fit it fails the test."""

    def __init__(self):
        self.roster = None
        #: Names and reasons of those who left, in order.
        self.left = []
        self.joined = []

    def take(self, events):
        for event in events:
            if event.event == "presence_state":
                self._state(json.loads(event.data))
            elif event.event == "presence_diff":
                self._diff(json.loads(event.data))
        return self

    def _state(self, state):
        assert state["omitted"] == 0
        if state["part"] == 1:
            self.roster = {}
        self.roster |= {name: member["away"] for name, member in state["members"].items()}

    def _diff(self, step):
        assert self.roster is not None, "a diff came before the state"
        for name, member in step["leaves"].items():
            assert name in self.roster, f"{name} left, and was not here"
            del self.roster[name]
            self.left.append((name, member["reason"]))
        for name, member in step["joins"].items():
            if name not in self.roster:
                self.joined.append(name)
            self.roster[name] = member["away"]
