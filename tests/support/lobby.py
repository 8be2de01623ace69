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
        #: Whether the roster has all members; if not, how many there are, as of which version.
        self.is_whole = False
        self.count, self.version = None, 0
        #: Where the next page of a large list begins.
        self.next = None
        # As of which version an entry of a large list is true; None until the count says.
        self._versions = {}

    def take(self, events):
        for event in events:
            if event.event == "presence_state":
                self._state(json.loads(event.data))
            elif event.event == "presence_diff":
                self._diff(json.loads(event.data))
            elif event.event == "presence_count":
                self._count(json.loads(event.data))
        return self

    def turn_to(self, text):
        """Take a page of a large list; returns whether it was of use."""
        page = json.loads(text)
        if self.is_whole or page["version"] < self.version:
            return False
        self.count, self.version, self.next = page["count"], page["version"], page["next"]
        for name, member in page["members"].items():
            self.roster[name] = member["away"]
            self._versions[name] = self.version
        return True

    def certain(self):
        """Return what is known of the members as of the last version."""
        if self.is_whole:
            return dict(self.roster)
        return {
            name: self.roster[name]
            for name, version in self._versions.items()
            if version == self.version
        }

    def _state(self, state):
        if state["part"] == 1:
            self.roster, self._versions, self.is_whole = {}, {}, True
        self.roster |= {name: member["away"] for name, member in state["members"].items()}
        if "next" in state:
            assert state["parts"] == 1
            self.next, self.is_whole = state["next"], False
            self._versions = dict.fromkeys(state["members"])
        else:
            assert state["omitted"] == 0

    def _count(self, data):
        assert self.roster is not None, "a count came before the state"
        self.is_whole = False
        # A state and the count after it are of the same moment.
        for name, version in self._versions.items():
            if version is None:
                self._versions[name] = data["version"]
        # A page that was asked for may have come before a count that waited.
        if data["version"] >= self.version:
            self.count, self.version = data["count"], data["version"]

    def _diff(self, step):
        assert self.roster is not None, "a diff came before the state"
        assert self.is_whole, "a diff came to a list that is not whole"
        for name, member in step["leaves"].items():
            assert name in self.roster, f"{name} left, and was not here"
            del self.roster[name]
            self.left.append((name, member["reason"]))
        for name, member in step["joins"].items():
            if name not in self.roster:
                self.joined.append(name)
            self.roster[name] = member["away"]
