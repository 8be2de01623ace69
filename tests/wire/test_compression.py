"""Compression made once for many clients: what each of them reads, and what it costs."""

import json
import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfere_tornado.wire.compression import (
    BEHIND,
    HEADER,
    OPENING,
    PLAIN,
    SharedCompressor,
    accepts_gzip,
)
from sfere_tornado.wire.event_stream import Event, encode


class Client:
    """A client that decompresses as a browser does, and knows only what it was sent."""

    def __init__(self, step=BEHIND):
        self.step = step
        self.decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self.size = 0
        if step != PLAIN:
            assert self.decoder.decompress(HEADER) == b""

    def read(self, data):
        """Return the text of one write, as much of it as can be read at once."""
        self.size += len(data)
        return data if self.step == PLAIN else self.decoder.decompress(data)


def clients(number):
    return [Client() for _ in range(number)]


def write(compressor, payload, receivers):
    """Give an event to clients, each of which must read it whole and at once; returns what was written."""
    shares = compressor.shares(payload, receivers)
    written = [receiver for share in shares for receiver in share.receivers]
    assert sorted(map(id, written)) == sorted(map(id, receivers))
    for share in shares:
        for receiver in share.receivers:
            assert receiver.read(share.data) == payload
    return shares


def in_step(receivers):
    """Return whether all of them are in step, with one context."""
    return len({receiver.step for receiver in receivers}) == 1 and receivers[0].step not in (
        PLAIN,
        BEHIND,
    )


# -- what clients read


def test_an_event_is_made_once_for_all_who_are_in_step():
    """However many receive it, there is one piece of bytes for those in step, and nothing else."""
    compressor, everybody = SharedCompressor(), clients(100)
    for number in range(10):
        (share,) = write(compressor, b"data: %d\n\n" % number, everybody)
        assert len(share.receivers) == 100
        assert in_step(everybody)


def test_clients_that_do_not_compress_get_the_event_as_it_is():
    """A connection without compression gets the very bytes of the event, beside others that compress."""
    compressor, plain, others = SharedCompressor(), [Client(PLAIN) for _ in range(3)], clients(3)
    payload = b"data: x\n\n"
    first, second = write(compressor, payload, [*plain, *others])
    assert first.data is payload
    assert first.receivers == plain
    assert second.receivers == others
    assert {client.step for client in plain} == {PLAIN}
    assert compressor.shares(payload, plain) == [(payload, plain)]


def test_what_an_opening_stream_can_read_is_not_known_yet():
    """A connection that is opening gets no bytes made beforehand: it may compress by the time that they are written."""
    compressor, opening, others = SharedCompressor(), Client(OPENING), clients(2)
    first, second = compressor.shares(b"data: x\n\n", [opening, *others])
    assert first == (None, [opening])
    assert opening.step == OPENING
    assert second.receivers == others


def test_whoever_catches_up_is_in_step():
    """What waited for a slow client reaches it later in a block of its own: the text is the same, so it is in step."""
    compressor, fast, slow = SharedCompressor(), clients(10), Client()
    write(compressor, b"data: hello\n\n", [*fast, slow])
    waiting = [b"data: brian\n\n", b"data: phil\n\n"]
    for payload in waiting:
        compressor.shares(payload, [*fast, slow])
    late = b"".join(waiting)
    assert slow.read(compressor.independent(late)) == late
    (share,) = compressor.shares(b"data: brian, phil\n\n", [*fast, slow])
    assert slow.read(share.data) == b"data: brian, phil\n\n"


def test_an_event_for_nobody_makes_no_bytes():
    """Without receivers there is nothing to write."""
    assert SharedCompressor().shares(b"data: x\n\n", []) == []


@pytest.mark.parametrize("level", range(1, 10))
def test_events_of_every_size_are_read_at_once(level):
    """Whatever an event holds and however long it is, it is read whole when its bytes are there, at every level."""
    compressor, everybody = SharedCompressor(level=level), clients(2)
    noise = random.Random(level)
    for payload in (
        b":\n",
        b"data: \xe2\x80\xa8\n\n",
        b"data: " + b"x" * 40_000 + b"\n\n",
        noise.randbytes(3),
        noise.randbytes(256 * 1024),
        encode(Event("<p>row</p>" * 2000)),
        noise.randbytes(32 * 1024),
    ):
        shares = write(compressor, payload, everybody)
        write(compressor, payload, clients(1))
        assert len(shares[0].data) <= len(payload) * 1.001 + 20


def test_the_event_before_makes_the_next_one_small():
    """A large fragment that is sent again with one change costs a small part of the first time, within the window."""
    compressor, everybody = SharedCompressor(), clients(1)
    rows = [f"<tr><td>{random.Random(n).random()}</td></tr>" for n in range(800)]
    (first,) = write(compressor, encode(Event("".join(rows))), everybody)
    rows[400] = "<tr><td>changed</td></tr>"
    (second,) = write(compressor, encode(Event("".join(rows))), everybody)
    assert len("".join(rows)) > 27_000
    assert len(second.data) < 0.05 * len(first.data)


# -- in step and behind


def test_whoever_comes_later_reads_independent_blocks_until_the_reset():
    """A newcomer is taken back in step after ``reset_every`` blocks at the latest, not before it is due."""
    compressor, old, new = SharedCompressor(reset_every=5), clients(100), clients(1)
    for _ in range(3):
        write(compressor, b"data: hello\n\n", old)
    shares = [write(compressor, b"data: hello\n\n", [*old, *new]) for _ in range(3)]
    assert [len(share) for share in shares] == [2, 2, 1]
    assert shares[0][1].receivers == new
    assert len(shares[0][0].data) < len(shares[0][1].data)
    assert in_step([*old, *new])


def test_where_nobody_is_behind_there_is_no_reset():
    """A reset costs everybody bytes: without anybody behind the context runs on."""
    compressor, everybody = SharedCompressor(reset_every=5), clients(10)
    payload = encode(Event("one and the same text in each event"))
    sizes = [len(write(compressor, payload, everybody)[0].data) for _ in range(50)]
    assert max(sizes[1:]) < sizes[0] / 2


def test_many_behind_are_taken_back_sooner():
    """The reset comes as soon as those behind have cost as many bytes as it does."""
    compressor, old, new = SharedCompressor(reset_every=1000), clients(10), clients(20)
    write(compressor, b"data: hello\n\n", old)
    rounds = 0
    while not in_step([*old, *new]):
        write(compressor, b"data: hello\n\n", [*old, *new])
        rounds += 1
    assert rounds == 2


def test_whoever_is_left_out_of_an_event_is_behind():
    """Someone who missed a block gets blocks that do not point to it."""
    compressor, author, others = SharedCompressor(), clients(1), clients(10)
    for text in (b"data: a\n\n", b"data: secret\n\n", b"data: secret again\n\n"):
        write(compressor, text, others if text == b"data: secret\n\n" else [*author, *others])
    assert author[0].step == BEHIND
    assert in_step(others)


def test_an_independent_block_can_be_read_by_everybody():
    """What is made for one connection alone can be read after anything, and by a client that got nothing before."""
    compressor, everybody = SharedCompressor(), clients(3)
    write(compressor, b"data: hello\n\n", everybody)
    for _ in range(2):
        block = compressor.independent(b"data: hello hello\n\n")
        for client in [*everybody, *clients(1)]:
            assert client.read(block) == b"data: hello hello\n\n"
            client.step = BEHIND
    write(compressor, b"data: hello\n\n", everybody)


# -- audiences


def test_an_event_for_few_does_not_leave_the_many_behind():
    """What one of many is told alone is not in their context: the others need no reset after it."""
    compressor, everybody = SharedCompressor(), clients(10)
    write(compressor, b"data: hello\n\n", everybody)
    write(compressor, b"data: for you alone\n\n", everybody[:5])
    assert in_step(everybody[5:])
    assert in_step(everybody[:5])
    assert everybody[0].step != everybody[9].step
    write(compressor, b"data: for the others\n\n", everybody[5:])
    assert in_step(everybody[5:])


def test_a_context_goes_on_with_the_greater_part_of_its_followers():
    """An event for more than half of those in step takes the context along."""
    compressor, everybody = SharedCompressor(), clients(10)
    write(compressor, b"data: hello\n\n", everybody)
    write(compressor, b"data: hello\n\n", everybody[:6])
    assert len(compressor._contexts) == 1
    write(compressor, b"data: hello\n\n", everybody[:3])
    assert len(compressor._contexts) == 2


def test_audiences_keep_contexts_of_their_own():
    """Rooms that are told different things in turn each stay in step, and their blocks stay small."""
    compressor, rooms = SharedCompressor(), [clients(20) for _ in range(4)]
    text = encode(Event("the same words for each room, again and again"))
    for turn in range(10):
        for room in rooms:
            (share,) = write(compressor, text, room)
            assert turn == 0 or len(share.data) < len(text) / 3


def test_one_event_for_several_audiences_leaves_nobody_wrongly_in_step():
    """Who was in step with another context than the one used is behind, though his own context is still there."""
    compressor, many, few = SharedCompressor(), clients(50), clients(3)
    for _ in range(3):
        write(compressor, b"data: to many\n\n", many)
        write(compressor, b"data: to few\n\n", few)
    write(compressor, b"data: to all\n\n", [*many, *few])
    assert {client.step for client in few} == {BEHIND}
    for _ in range(3):
        write(compressor, b"data: to few\n\n", few)
        write(compressor, b"data: to many\n\n", many)
    assert in_step(few)
    assert in_step(many)


def test_contexts_are_bounded():
    """Stops audiences without end from filling the memory; all of them can still be read."""
    compressor = SharedCompressor(max_contexts=4)
    for _ in range(3):
        for audience in [clients(2) for _ in range(10)]:
            for _ in range(2):
                write(compressor, b"data: hello\n\n", audience)
            assert len(compressor._contexts) <= 4
    assert repr(compressor) == "<SharedCompressor: 4 of 4 contexts>"


def test_private_events_do_not_push_out_the_context_of_many():
    """Hundreds of events for one connection each leave a large audience in step."""
    compressor, many = SharedCompressor(max_contexts=4), clients(500)
    write(compressor, b"data: hello\n\n", many)
    before = many[0].step
    for client in clients(300):
        write(compressor, b"data: private\n\n", [client])
    write(compressor, b"data: hello\n\n", many)
    assert before not in compressor._contexts
    assert len({client.step for client in many}) == 1
    assert sum(client.size for client in many) / 500 < len(HEADER) + 2 * len(b"data: hello\n\n")


def test_a_context_that_nobody_uses_any_more_gives_way():
    """A large audience that is gone does not hold its context for ever."""
    compressor = SharedCompressor(max_contexts=2)
    gone = clients(50)
    write(compressor, b"data: hello\n\n", gone)
    for client in clients(200):
        write(compressor, b"data: private\n\n", [client])
    assert gone[0].step not in compressor._contexts
    write(compressor, b"data: hello\n\n", gone)


def test_no_length_tells_what_was_sent_to_others_only():
    """Stops one client from learning another's text by the length of his own blocks: they are the same whatever it was."""

    def seen_by_the_curious(secret):
        compressor, curious, victim = SharedCompressor(max_contexts=1), clients(1), clients(1)
        sizes = []
        for guess in (b"token=aaaa", b"token=7f3a", b"token=7f3a99"):
            write(compressor, secret, victim)
            sizes += [
                len(share.data) for share in write(compressor, b"data: %b\n\n" % guess, curious)
            ]
            sizes += [
                len(share.data)
                for share in write(compressor, b"data: both\n\n", [*curious, *victim])
            ]
        return sizes

    assert seen_by_the_curious(b"data: token=7f3a99\n\n") == seen_by_the_curious(
        b"data: token=0000zz\n\n"
    )


# -- everything at once


@settings(max_examples=150, deadline=None)
@given(
    data=st.data(),
    level=st.sampled_from([1, 6, 9]),
    reset_every=st.integers(1, 6),
    max_contexts=st.integers(1, 3),
)
def test_whatever_happens_everybody_reads_what_he_was_sent(data, level, reset_every, max_contexts):
    """Through joins, exclusions, private events, catching up and resets each client reads each event when it is written."""
    compressor = SharedCompressor(level=level, reset_every=reset_every, max_contexts=max_contexts)
    everybody = clients(data.draw(st.integers(0, 6)))
    plain = Client(PLAIN)
    words = st.lists(
        st.sampled_from([b"data: lobby\n\n", b"data: brian left\n\n", b": x\n", b"\xff\x00"]),
        min_size=1,
    )
    for _ in range(data.draw(st.integers(1, 12))):
        payload = b"".join(data.draw(words)) * data.draw(st.sampled_from([1, 1, 1, 5000]))
        step = data.draw(st.sampled_from(["join", "leave", "all", "some", "one", "alone", "late"]))
        if step == "join" or not everybody:
            everybody.append(Client())
        elif step == "leave":
            everybody.pop(data.draw(st.integers(0, len(everybody) - 1)))
        elif step == "alone":
            client = data.draw(st.sampled_from(everybody))
            client.step = BEHIND
            assert client.read(compressor.independent(payload)) == payload
        elif step == "late":
            *punctual, slow = everybody
            for share in compressor.shares(payload, everybody):
                assert all(
                    client.read(share.data) == payload
                    for client in share.receivers
                    if client in punctual
                )
            assert slow.read(compressor.independent(payload)) == payload
        else:
            chosen = st.lists(
                st.sampled_from(everybody), unique=True, max_size=1 if step == "one" else None
            )
            receivers = list(everybody) if step == "all" else data.draw(chosen)
            assert len(write(compressor, payload, [plain, *receivers])) <= 3
        assert len(compressor._contexts) <= max_contexts


# -- what it saves

TEXT = (
    "we should meet in the lobby after lunch and look at the new plan for the release it is nearly done I think "
    "brian has left but phil is still here could you ask him about the numbers from last week"
)


def price(dice):
    return {
        "symbol": dice.choice(["ACME", "GLOBEX", "INITECH", "UMBRELLA", "HOOLI"]),
        "price": round(dice.uniform(90, 110), 2),
        "change": round(dice.uniform(-2, 2), 2),
        "volume": dice.randrange(1000, 5000),
        "at": f"2026-11-24T10:{dice.randrange(60):02}:{dice.randrange(60):02}Z",
        "market": "open",
    }


def presence(dice):
    meta = {
        "online_at": 1795510000 + dice.randrange(9999),
        "device": dice.choice(["phone", "desktop"]),
    }
    return {
        "joins": {f"user-{dice.randrange(500)}": {"metas": [meta]}},
        "leaves": {},
        "category": "lobby",
    }


def chat(dice):
    return {
        "type": "message",
        "room": "lobby",
        "id": dice.randrange(10000),
        "from": {
            "name": dice.choice(["anna", "brian", "phil"]),
            "avatar": f"/avatars/{dice.randrange(9)}.png",
        },
        "sent_at": f"2026-11-24T10:{dice.randrange(60):02}:{dice.randrange(60):02}Z",
        "text": " ".join(dice.choice(TEXT.split()) for _ in range(dice.randrange(10, 40))),
        "reactions": [],
        "edited": False,
        "reply_to": None,
    }


def readings(dice):
    rows = [
        {"id": f"sensor-{n}", "value": round(dice.uniform(18, 24), 1), "unit": "C"}
        for n in range(10)
    ]
    return {"sensors": rows, "status": "ok"}


@pytest.mark.parametrize("make", [price, presence, chat, readings])
def test_json_of_some_hundred_bytes_becomes_a_third_at_most(make):
    """Events of 120 to 500 bytes of JSON take 0.3 times their bytes or less, frames, headers and newcomers included."""
    dice = random.Random(7)
    compressor, everybody = SharedCompressor(), clients(100)
    plain_size = compressed_size = 0
    for number in range(500):
        if number % 10 == 0:
            everybody[dice.randrange(100)] = Client()
            compressed_size += len(HEADER)
        payload = encode(Event(json.dumps(make(dice), separators=(",", ":")), event="message"))
        assert 120 <= len(payload) <= 520
        plain_size += (len(payload) + 6) * 100
        for share in write(compressor, payload, everybody):
            compressed_size += (len(share.data) + 6) * len(share.receivers)
    print(
        f"\n{make.__name__}: {plain_size / 50000 - 6:.0f} bytes, ratio {compressed_size / plain_size:.3f}"
    )
    assert compressed_size <= 0.3 * plain_size


# -- who wants it


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("gzip, deflate, br, zstd", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip;q=1.0", True),
        ("br, *", True),
        ("*;q=0.1", True),
        ("gzip ; q=0.001", True),
        ("", False),
        ("identity", False),
        ("br, deflate", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("*;q=0", False),
        ("*, gzip;q=0", False),
        ("xgzip", False),
    ],
)
def test_who_takes_gzip(header, accepted):
    """A client takes gzip when it names it, or anything, with a weight above zero (RFC 9110, 12.5.3)."""
    assert accepts_gzip(header) is accepted
