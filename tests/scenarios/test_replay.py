"""A client that comes back gets what it has missed, over real sockets: in order, nothing lost, nothing twice, no hole untold."""

import asyncio
import json
import random
import zlib
from dataclasses import replace
from urllib.parse import quote

import pytest
from support.lobby import LOBBY, LONG, Events, Lobby, key
from support.waiting import eventually

from benchmarks.replay import FEW, Soak, burst
from sfere_tornado import ANY, Key, StreamConfig, broadcast, close_sse, send, with_connection
from sfere_tornado.config import HistoryConfig, KeepConfig
from sfere_tornado.history import PIECE_SIZE, MemoryHistory
from sfere_tornado.streams.connection import AWAY
from sfere_tornado.testing import StreamClient
from sfere_tornado.testing.stream_client import request_bytes
from sfere_tornado.wire.framing import LAST_CHUNK

QUIET = {"presence": None}


@pytest.fixture
def open_lobby(serve):
    def start(events=Events, **settings):
        lobby = Lobby(events, **{**QUIET, **settings})
        lobby.url = serve(lobby.app)
        return lobby

    return start


async def said(client, count):
    """Return the data of the next events of the type ``said``."""
    return [(await client.event("said")).data for _ in range(count)]


async def missed(lobby, name="ann"):
    """Let a client come, hear ``first``, and go; returns its last id."""
    client = await lobby.enter(name)
    lobby.say("first")
    last = (await client.event("said")).id
    client.close()
    await eventually(lambda: not lobby.hub.store.count(key(name)))
    return last


# -- what comes back


@pytest.mark.gen_test
async def test_by_header_and_by_query(open_lobby):
    """The id comes in a header from a browser that comes back, in the query from a page; the header is the newer one."""
    lobby = open_lobby()
    last = await missed(lobby)
    for text in ("second", "third"):
        lobby.say(text)
    newer = lobby.hub.history.cursor()
    lobby.say("fourth")
    by_header = await lobby.enter("ann", last=last)
    by_query = await lobby.enter("ann", last_event_id=last)
    by_both = await lobby.enter("ann", last=newer, last_event_id=last)
    lobby.say("live")
    for client in (by_header, by_query):
        assert await said(client, 4) == ["second", "third", "fourth", "live"]
    assert await said(by_both, 2) == ["fourth", "live"]
    assert await by_both.quiet() == []
    # Without an id it is a newcomer, and nobody replays the past to newcomers; but it knows where it came in.
    newcomer = await lobby.enter("ann")
    assert await newcomer.quiet() == []
    assert newcomer.parser.last_event_id == lobby.hub.history.cursor()


@pytest.mark.gen_test
async def test_a_page_that_was_rendered_with_a_cursor_misses_nothing(open_lobby):
    """What happens between rendering and connecting comes first; what the page shows already does not come again."""
    lobby = open_lobby()
    lobby.say("in the page")
    cursor = lobby.hub.history.cursor()
    lobby.say("between")
    client = await lobby.enter("ann", last_event_id=cursor)
    lobby.say("live")
    assert await said(client, 2) == ["between", "live"]


@pytest.mark.gen_test
async def test_what_was_for_it_and_nothing_else(open_lobby):
    """By key and by pattern, also to a key under which nobody was; what it was excluded from, by key or pattern, stays away."""
    lobby = open_lobby()
    last = await missed(lobby)
    hub = lobby.hub
    assert not hub.store.keys()
    hub.dispatch(with_connection(key("ann"), send("for ann", event="said")))
    hub.dispatch(with_connection(key("brian"), send("for brian", event="said")))
    lobby.say("not for ann", exclude={key("ann")})
    lobby.say("not for the lobby", to=(ANY, ANY), exclude=LOBBY)
    lobby.say("for all but brian", exclude=[key("brian")])
    lobby.say("of another scope", to=("other", (ANY, ANY)))
    lobby.say("of another category", to=(ANY, ("kitchen", ANY)))
    lobby.say("for everybody", to=(ANY, ANY))
    ann, brian = await lobby.enter("ann", last=last), await lobby.enter("brian", last=last)
    assert await said(ann, 3) == ["for ann", "for all but brian", "for everybody"]
    assert await said(brian, 3) == ["for brian", "not for ann", "for everybody"]
    assert await ann.quiet() == await brian.quiet() == []


@pytest.mark.gen_test
async def test_an_event_that_a_request_sends_to_its_own_stream_is_kept(serve):
    """A handler's bare send reaches the open stream of its key, and the same one when it is closed for a moment."""

    class Say(Events):
        stream_verbs = frozenset()

        def get(self):
            self.dispatch(send(self.get_query_argument("text"), event="said"))

    lobby = Lobby(routes=[("/say", Say)], **QUIET)
    lobby.url = serve(lobby.app)
    last = await missed(lobby)
    async with await StreamClient.open(f"{lobby.url}/say?name=ann&text=hello") as answer:
        assert answer.status == 200
    assert await said(await lobby.enter("ann", last=last), 1) == ["hello"]


@pytest.mark.gen_test(timeout=60)
async def test_a_stream_that_is_never_quiet(open_lobby):
    """A producer that never pauses, and a client that comes back again and again: all of it, in order, once."""
    lobby = open_lobby(history=HistoryConfig(count=100_000, bytes=64 * 2**20))
    total, stopped = 0, False

    async def produce():
        nonlocal total
        # Fewer than are kept: on a busy machine the client may fall behind by any number.
        while not stopped and total < 90_000:
            for _ in range(7):
                lobby.say({"n": total})
                total += 1
            await asyncio.sleep(0)

    client = await lobby.enter("ann")
    producing = asyncio.create_task(produce())
    got, dice = [], random.Random(3)
    for _ in range(40):
        for _ in range(dice.randrange(1, 60)):
            got.append((await client.json("said"))["n"])
        # What it has read and not yet shown is lost with the page.
        last = client.parser.last_event_id
        got += [json.loads(event.data)["n"] for event in client._events if event.event == "said"]
        (client.reset if dice.random() < 0.5 else client.close)()
        client = await lobby.enter("ann", last=last)
    stopped = True
    await producing
    while got[-1] < total - 1:
        got.append((await client.json("said"))["n"])
    assert got == list(range(total))
    assert total > 1000


@pytest.mark.gen_test
async def test_an_id_never_runs_ahead_of_what_came_with_it(open_lobby):
    """Nothing that is sent before the replay sets an id: a client that is cut in between would never get what it missed."""
    lobby = open_lobby()
    last = await missed(lobby)
    lobby.say("second")
    client = await StreamClient.connect(lobby.url)
    await client.send(
        request_bytes(f"{lobby.url}/events?name=ann", headers={"Last-Event-ID": last})
    )
    seen = await client.stream.read_until(b"data: second\n\n")
    assert seen.count(b"\nid: ") == 1
    client.close()


@pytest.mark.gen_test
async def test_compressed_streams_replay_too(open_lobby):
    """What was missed, the greeting, what came meanwhile and live events are one gzip stream, in order."""

    class Greeted(Events):
        async def on_open(self, connection):
            lobby.say("meanwhile")
            await asyncio.sleep(0)
            return [send("hello " * 20_000, event="said")]

    lobby = open_lobby(Greeted, stream=StreamConfig(compress=frozenset({"lobby"})))
    last = await missed_compressed(lobby)
    for number in range(300):
        lobby.say(f"{number} " * 20)
    client = await Gzip.open(
        f"{lobby.url}/events?name=ann", headers={"Last-Event-ID": last, "Accept-Encoding": "gzip"}
    )
    assert client.headers["Content-Encoding"] == "gzip"
    assert await said(client, 300) == [f"{number} " * 20 for number in range(300)]
    assert await said(client, 2) == ["hello " * 20_000, "meanwhile"]
    for number in range(100):
        lobby.say(f"live {number}")
    assert await said(client, 100) == [f"live {number}" for number in range(100)]


class Gzip(StreamClient):
    """Reads a gzip stream."""

    def __init__(self, stream):
        super().__init__(stream)
        self._inflate = zlib.decompressobj(31)

    def _unchunk(self, data):
        return self._inflate.decompress(super()._unchunk(data))


async def missed_compressed(lobby):
    last = lobby.hub.history.cursor()
    client = await Gzip.open(f"{lobby.url}/events?name=ann", headers={"Accept-Encoding": "gzip"})
    assert (await said(client, 1))[0].startswith("hello ")
    client.close()
    await eventually(lambda: not lobby.hub.streams)
    return lobby.hub.history.cursor() if last else ""


# -- gaps


@pytest.mark.parametrize(
    ("last", "reason"),
    [("too_old", "too_old"), ("3-0123", "foreign"), ("no id", "garbage"), ("", "garbage")],
)
@pytest.mark.gen_test
async def test_a_gap_is_told_first(open_lobby, last, reason):
    """A client that has missed what is gone is told so before anything else, and why; then it gets what there is."""
    lobby = open_lobby(history=HistoryConfig(count=2))
    first = await missed(lobby)
    for text in ("dropped", "second", "third"):
        lobby.say(text)
    client = await lobby.enter("ann", last=first if last == "too_old" else last)
    told = await client.event()
    assert (told.event, json.loads(told.data), told.id) == ("gap", {"reason": reason}, "")
    # Of a foreign id nobody knows what its client has got: nothing is sent that might come twice.
    kept = ["second", "third"] if reason == "too_old" else []
    assert [event.data for event in await client.quiet()] == kept
    assert client.parser.last_event_id == lobby.hub.history.cursor()
    lobby.say("live")
    assert await said(client, 1) == ["live"]


@pytest.mark.gen_test
async def test_no_gap_where_nothing_of_its_own_is_gone(open_lobby):
    """What was dropped and was for others only is no hole."""
    lobby = open_lobby(history=HistoryConfig(count=2))
    last = await missed(lobby)
    for _ in range(5):
        lobby.say("for brian", to=key("brian"))
    client = await lobby.enter("ann", last=last)
    assert await client.quiet() == []


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("reason", ["too_old", "foreign"])
@pytest.mark.gen_test
async def test_a_snapshot_in_place_of_what_is_kept(open_lobby, asynchronous, reason):
    """The hook is told the reason; what it returns follows the gap, then come the events from there on, and nothing else."""

    def snapshot(connection, why):
        assert connection.key == key("ann")
        return [send({"why": why}, event="snapshot"), send("all", event="snapshot")]

    class Plain(Events):
        def on_gap(self, connection, why):
            return snapshot(connection, why)

    class Slow(Events):
        async def on_gap(self, connection, why):
            lobby.say("meanwhile")
            await asyncio.sleep(0)
            return snapshot(connection, why)

    lobby = open_lobby(Slow if asynchronous else Plain, history=HistoryConfig(count=2))
    last = await missed(lobby)
    for text in ("dropped", "second", "third"):
        lobby.say(text)
    client = await lobby.enter("ann", last=last if reason == "too_old" else "1-x")
    assert (await client.event()).event == "gap"
    assert await client.json() == {"why": reason}
    assert (await client.event()).data == "all"
    lobby.say("live")
    expected = ["meanwhile", "live"] if asynchronous else ["live"]
    assert await said(client, len(expected)) == expected
    assert await client.quiet() == []


@pytest.mark.gen_test
async def test_a_category_that_keeps_nothing(open_lobby):
    """There is nothing to replay, and nothing that could be missing."""
    lobby = open_lobby(history=HistoryConfig(categories={"lobby": KeepConfig(count=0)}))
    cursor = lobby.hub.history.cursor()
    lobby.say("unkept")
    client = await lobby.enter("ann", last=cursor)
    assert await client.quiet() == []
    lobby.say("live")
    assert (await client.event()).id == cursor


# -- bounds


@pytest.mark.gen_test(timeout=60)
async def test_a_replay_longer_than_the_outbox_is_paced(open_lobby):
    """A slow client gets eight megabytes through an outbox of 64 KiB: never more than a part of it waits here."""
    lobby = open_lobby(
        store=LONG,
        stream=StreamConfig(max_outbox=65536, max_event_size=16384),
        history=HistoryConfig(count=10_000, bytes=16 * 2**20),
    )
    last = lobby.hub.history.cursor()
    for number in range(1000):
        lobby.say(f"{number:04}" + "x" * 8000)
    client = await lobby.enter("ann", last=last)
    waiting = []
    for number in range(1000):
        assert (await client.event("said")).data[:4] == f"{number:04}"
        if number % 100 == 0:
            lobby.say(f"live {number}")
            await asyncio.sleep(0.01)  # it does not read all the time
        (connection,) = lobby.hub.streams
        waiting.append(connection._outbox.transport._stream._write_buffer._size)
        assert connection.outbox < 1000
    assert PIECE_SIZE / 2 < max(waiting) < 2 * PIECE_SIZE
    assert await said(client, 10) == [f"live {number}" for number in range(0, 1000, 100)]


@pytest.mark.gen_test(timeout=30)
async def test_who_reads_nothing_of_a_replay_is_cut(open_lobby):
    """A client that takes nothing of its replay is cut for being slow, like any other, and comes back where it was."""
    lobby = open_lobby(
        stream=StreamConfig(max_outbox=65536, max_event_size=16384),
        history=HistoryConfig(count=10_000, bytes=64 * 2**20),
    )
    last = lobby.hub.history.cursor()
    for number in range(4000):
        lobby.say(f"{number:04}" + "x" * 8000)
    client = await lobby.enter("ann", last=last)
    (connection,) = lobby.hub.streams
    # One heartbeat waits; then it is seen that nothing of it goes.
    for _ in range(20):
        await asyncio.sleep(0.01)  # its kernel may take some more
        lobby.pass_time(5)
    assert connection.reason == "slow"
    got = [event async for event in rest_of(client)]
    assert [event.data[:4] for event in got] == [f"{number:04}" for number in range(len(got))]
    client = await lobby.enter("ann", last=got[-1].id)
    assert (await client.event("said")).data[:4] == f"{len(got):04}"


async def rest_of(client):
    """Read to the end."""
    while True:
        try:
            yield await client.event("said")
        except ConnectionError:
            return


# -- joining


class Gate:
    """What a greeting waits for, as for a database."""

    def __init__(self):
        self.asked, self.answer = asyncio.Event(), asyncio.Event()

    async def wait(self):
        self.asked.set()
        await self.answer.wait()


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.gen_test
async def test_events_follow_the_snapshot(open_lobby, back):
    """While a greeting is awaited everything waits: first what was missed, then the snapshot, then what came meanwhile."""
    gate = Gate()

    class Snapshot(Events):
        async def on_open(self, connection):
            await gate.wait()
            return [send("snapshot", event="said"), broadcast(LOBBY, send("joined", event="said"))]

    lobby = open_lobby(Snapshot)
    cursor = lobby.hub.history.cursor()
    lobby.say("missed")
    client = await lobby.enter("ann", last=cursor if back else None)
    await gate.asked.wait()
    lobby.say("meanwhile 1")
    lobby.say("meanwhile 2", to=key("ann"))
    assert [event.data for event in await client.quiet()] == (["missed"] if back else [])
    gate.answer.set()
    assert await said(client, 4) == ["snapshot", "meanwhile 1", "meanwhile 2", "joined"]
    lobby.say("live")
    assert await said(client, 1) == ["live"]
    assert await client.quiet() == []


@pytest.mark.gen_test
async def test_what_waits_for_a_snapshot_is_bounded(open_lobby):
    """A greeting that takes too long costs an outbox; the client is cut, comes back, and has lost nothing."""
    gate = Gate()

    class Snapshot(Events):
        async def on_open(self, connection):
            await gate.wait()
            return send("snapshot", event="said")

    lobby = open_lobby(Snapshot, stream=StreamConfig(max_outbox=65536, max_event_size=16384))
    cursor = lobby.hub.history.cursor()
    client = await lobby.enter("ann", last=cursor)
    await gate.asked.wait()
    (connection,) = lobby.hub.streams
    for number in range(10):
        lobby.say(f"{number}" + "x" * 8000)
    await eventually(lambda: connection.reason == "slow")
    assert await client.ended() is False
    gate.answer.set()
    client = await lobby.enter("ann", last=client.parser.last_event_id)
    assert [text[:8] for text in await said(client, 11)] == [
        *(f"{n}xxxxxxx" for n in range(10)),
        "snapshot",
    ]


@pytest.mark.gen_test
async def test_a_stream_that_ends_while_its_greeting_is_awaited(open_lobby):
    """Nothing is written behind the last words."""
    gate = Gate()

    class Snapshot(Events):
        async def on_open(self, connection):
            await gate.wait()
            return send("too late", event="said")

    lobby = open_lobby(Snapshot)
    client = await lobby.enter("ann")
    await gate.asked.wait()
    lobby.hub.revoke(LOBBY)
    gate.answer.set()
    assert await client.ended() is True
    assert (client.parser.retry, await client.quiet()) == (AWAY, [])
    await eventually(lambda: not lobby.hub.streams)


@pytest.mark.gen_test(timeout=30)
async def test_a_stream_that_ends_during_its_replay(open_lobby):
    """The last chunk is the last thing that its client gets, however much of the replay was still to come."""
    lobby = open_lobby(history=HistoryConfig(count=10_000, bytes=64 * 2**20))
    cursor = lobby.hub.history.cursor()
    for _ in range(4000):
        lobby.say("x" * 8000)
    client = await StreamClient.connect(lobby.url)
    await client.send(
        request_bytes(f"{lobby.url}/events?name=ann", headers={"Last-Event-ID": cursor})
    )
    await eventually(lambda: len(lobby.hub.streams) == 1)
    (connection,) = lobby.hub.streams
    stream = connection._outbox.transport._stream
    sent = -1
    while stream._total_write_index != sent:  # until the client's buffers are full
        sent = stream._total_write_index
        await asyncio.sleep(0.05)  # the kernel does not tell
    assert stream.writing()
    lobby.hub.revoke(LOBBY)
    data = await client.stream.read_until_close()
    assert (data.count(LAST_CHUNK), data.endswith(LAST_CHUNK)) == (1, True)
    assert f"retry: {AWAY}\n".encode() in data
    client.close()


@pytest.mark.parametrize("reconnect", [False, True])
@pytest.mark.gen_test
async def test_a_greeting_that_ends_the_stream(open_lobby, reconnect):
    """What it says before the end arrives; what it says after it is a failure that can be seen."""
    told = []

    class Refusing(Events):
        async def on_open(self, connection):
            return [send("no", event="said"), close_sse(reconnect=reconnect), ("late",)]

    def late(ctx):
        told.append(
            (
                ctx.system["sse"].closed,
                [failure.reason for failure in ctx.system["sse"].deliver(b"x").failures],
            )
        )

    lobby = open_lobby(Refusing, registries=[{"effects": {"late": late}}])
    client = await lobby.enter("ann")
    assert (await client.event()).data == "no"
    assert await client.ended() is not reconnect
    assert told == [(True, ["server"])]


@pytest.mark.gen_test
async def test_a_client_that_leaves_during_its_replay(open_lobby):
    """It has left for its own reason, once, and nothing is logged."""
    reasons = []

    class Noted(Events):
        def on_close(self, connection):
            reasons.append(connection.reason)

    lobby = open_lobby(Noted, history=HistoryConfig(count=10_000, bytes=64 * 2**20))
    cursor = lobby.hub.history.cursor()
    for _ in range(1000):
        lobby.say("x" * 10_000)
    for leave in ("close", "reset"):
        client = await lobby.enter("ann", last=cursor)
        await client.event("said")
        getattr(client, leave)()
    await eventually(lambda: not lobby.hub.streams)
    assert reasons == ["client", "client"]


@pytest.mark.gen_test
async def test_a_greeting_that_fails(open_lobby, caplog):
    """The stream is cut, so that its client comes back; the error is logged once."""

    class Failing(Events):
        async def on_open(self, connection):
            raise LookupError("no such room")

    lobby = open_lobby(Failing)
    client = await lobby.enter("ann")
    assert await client.ended() is False
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == [
        "no such room"
    ]
    await eventually(lambda: not lobby.hub.streams)


# -- abuse


STRANGE = [
    "0",
    "-",
    "1",
    "1-",
    "-1",
    " 1-{tag}x",
    "1-{TAG}",
    "-1-{tag}",
    "+1-{tag}",
    "1e3-{tag}",
    "\u0661-{tag}",
    "999999999999999999-{tag}",
    "9" * 30 + "-{tag}",
    "1-{tag}\x00",
    "1-{tag}\n2-{tag}",
    "1-{tag}\r\nX-Injected: 1",
    "\x00\x01\x7f\x80\xff",
    "\ud7ff\ue000\U0010ffff",
    "*",
    "default/lobby/brian",
    "1-{tag},2-{tag}",
    "x" * 60_000,
    "1-" + "a" * 60_000,
    "1" * 60_000 + "-{tag}",
]


@pytest.mark.parametrize("where", ["header", "query"])
@pytest.mark.gen_test(timeout=60)
async def test_no_id_breaks_anything_or_opens_anothers_events(open_lobby, where):
    """Whatever is sent as an id, of any length and in any characters: a stream, a gap, and never another's event."""
    lobby = open_lobby()
    lobby.say("secret", to=key("brian"))
    dice = random.Random(4)
    tag = lobby.hub.history.tag
    ids = [
        text.replace("{tag}", tag).replace("{TAG}", tag.upper())
        for text in STRANGE
        # A tag without letters, one in forty, is the same in capitals: its id is good.
        if "{TAG}" not in text or not tag.isdigit()
    ]
    ids += [
        "".join(chr(dice.randrange(1, 0x500)) for _ in range(dice.randrange(1, 300)))
        for _ in range(50)
    ]
    for sent in ids:
        raw = sent.encode("utf-8", "surrogatepass")
        if where == "query":
            client = await StreamClient.open(
                f"{lobby.url}/events?name=ann&last_event_id={quote(raw)}"
            )
        else:
            # What no header can have, HTTP itself refuses; a browser sends UTF-8, others send latin-1.
            text = "".join(char if char.isprintable() else "\xbf" for char in raw.decode("latin-1"))
            client = await StreamClient.open(
                f"{lobby.url}/events?name=ann", headers={"Last-Event-ID": text}
            )
        assert (client.status, client.headers["Content-Type"]) == (200, "text/event-stream"), sent
        told = await client.event()
        assert told.event == "gap", sent
        client.close()
    await eventually(lambda: not lobby.hub.streams)


@pytest.mark.gen_test
async def test_an_id_of_a_neighbour_brings_nothing_of_his(serve):
    """One hub has one sequence for all tenants; an id seen by one of them gives another what was for itself only."""

    def tenant(ctx):
        return ctx.system["request"].arguments["tenant"][0].decode()

    lobby = Lobby(id_fn=tenant, **QUIET)
    lobby.url = serve(lobby.app)
    start = lobby.hub.history.cursor()
    for name in ("a", "b"):
        lobby.say(f"of {name}", to=(name, ("lobby", ANY)))
        lobby.say(f"of {name}'s ann", to=Key(name, ("lobby", "ann")))
    theirs = await lobby.enter("ann", tenant="a", last=start)
    seen = [await theirs.event(), await theirs.event()]
    assert [event.data for event in seen] == ["of a", "of a's ann"]
    for sent in (start, *(event.id for event in seen)):
        client = await lobby.enter("ann", tenant="b", last=sent)
        assert await said(client, 2) == ["of b", "of b's ann"]
        assert await client.quiet(0.02) == []


# -- many clients, many cuts


CROWD = {"events": 20_000, "clients": 60, "cuts": 1200}


@pytest.mark.gen_test(timeout=120)
async def test_many_clients_that_are_cut_at_random(io_loop):
    """At full speed to a crowd that is cut in the middle of things: 0 lost, 0 doubled, 0 out of order."""
    found = await Soak(**CROWD, kept=20_000).run()
    assert (found.wrong, found.gaps) == ([], 0)
    assert (found.finished, found.received) == (60, 60 * 20_000)
    assert found.cuts >= 1200
    assert found.replayed > 50_000


@pytest.mark.gen_test(timeout=120)
async def test_with_a_history_too_small_every_hole_is_told(io_loop):
    """The same with few events kept: whoever missed one that is gone is told, and nobody else is."""
    found = await Soak(**CROWD, kept=FEW * burst(**CROWD)).run()
    assert (found.wrong, found.finished) == ([], 60)
    assert 100 < found.gaps < found.cuts
    assert 0 < found.replayed < found.received < 60 * 20_000


@pytest.mark.parametrize(
    "fault",
    [
        lambda part: replace(part, events=part.events[1:]),
        lambda part: replace(part, events=part.events + part.events[-1:]),
        lambda part: replace(part, events=part.events[::-1]),
        lambda part: replace(part, gap=None),
        lambda part: replace(part, gap="too_old"),
    ],
    ids=["lost", "doubled", "out of order", "untold", "wrongly told"],
)
@pytest.mark.gen_test
async def test_the_crowd_finds_out_what_is_wrong(io_loop, monkeypatch, fault):
    """A history that loses, repeats or reverses events, hides its holes or tells of some that are none is found out."""
    part = MemoryHistory._part
    monkeypatch.setattr(
        MemoryHistory, "_part", lambda *positional, **named: fault(part(*positional, **named))
    )
    monkeypatch.setattr("benchmarks.replay.PATIENCE", 1.0)
    found = await Soak(events=1000, clients=10, cuts=100, kept=60).run()
    assert found.wrong != []
