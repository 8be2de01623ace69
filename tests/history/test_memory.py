"""Past events and their replay: nothing lost, nothing twice, nothing out of order, and no hole without a word."""

import random
from bisect import bisect_right

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sfere_tornado.errors import EventError, EventTooLargeError, KeyShapeError
from sfere_tornado.history import (
    MAX_CATEGORIES,
    MAX_DROPPED,
    MAX_SCAN,
    PIECE_SIZE,
    Keep,
    MemoryHistory,
)
from sfere_tornado.history.log import Log
from sfere_tornado.keys import ANY, Key, Pattern
from sfere_tornado.testing import FakeClock
from sfere_tornado.testing.parser import Parser
from sfere_tornado.wire.event_stream import Event

ANN = Key("default", ("lobby", "ann"))
BRIAN = Key("default", ("lobby", "brian"))
COOK = Key("default", ("kitchen", "cook"))
STRANGER = Key("other", ("lobby", "ann"))
LOBBY = (ANY, ("lobby", ANY))
EVERYBODY = (ANY, (ANY, ANY))


def read(payloads):
    """Return events as a client sees them."""
    return Parser().feed(b"".join(payloads))


def data(replay):
    return [event.data for event in read(replay.events)]


def say(history, text, pattern=LOBBY, **options):
    """Record an event, and return the id that its receivers get with it."""
    [event] = read([history.record(pattern, Event(text), **options)])
    assert event.data == text
    return event.id


def everything(history, last_event_id, key, **options):
    """Replay to the end; returns the gaps and the events."""
    replay = history.since(last_event_id, key, **options)
    gaps, events = [replay.gap], list(replay.events)
    while not replay.done:
        replay = history.more(replay)
        gaps.append(replay.gap)
        events += replay.events
    return [gap for gap in gaps if gap], [event.data for event in read(events)]


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def history(clock):
    return MemoryHistory(timer=clock, tag="t1")


# -- recording


def test_an_event_gets_the_next_id(history):
    """Ids are the place in the one sequence and the tag; the event's other fields are as they were."""
    assert history.cursor() == "0-t1"
    assert (
        history.record(LOBBY, Event("a", "message", retry=7))
        == b"event: message\nid: 1-t1\nretry: 7\ndata: a\n\n"
    )
    assert say(history, "b", EVERYBODY) == "2-t1"
    assert (history.cursor(), history.position, len(history)) == ("2-t1", 2, 2)
    assert repr(history) == "<MemoryHistory t1: 2 events, 1 categories, up to 2>"


def test_each_history_has_a_tag_of_its_own():
    """Ids of another history, or of the same server before a restart, are recognised; the tag is made on first use."""
    assert MemoryHistory().tag != MemoryHistory().tag
    history = MemoryHistory()
    assert history._tag is None
    assert history.cursor() == f"0-{history.tag}"
    assert history.tag.isascii()
    assert history.tag.isalnum()


@pytest.mark.parametrize("wrong", ["", "a-b", "x" * 33, "\u00fc", "a\n", " "])
def test_a_tag_is_letters_and_digits(wrong):
    """An id stands in a header and on a line: a tag that could not is refused."""
    with pytest.raises(ValueError, match="a tag has"):
        MemoryHistory(tag=wrong)


def test_what_cannot_be_sent_is_not_kept(history):
    """An event that is refused leaves no place in the sequence; one with an id of its own is refused too."""
    small = MemoryHistory(max_event_size=20)
    for record, error in (
        (lambda: history.record(LOBBY, Event("\ud800")), EventError),
        (lambda: history.record(LOBBY, Event("a", id="mine")), EventError),
        (lambda: small.record(LOBBY, Event("x" * 30)), EventTooLargeError),
        (lambda: history.record("lobby", Event("a")), KeyShapeError),
        (lambda: history.record(LOBBY, Event("a"), exclude="ann"), KeyShapeError),
        (lambda: history.record(LOBBY, Event("a"), exclude=["ann"]), KeyShapeError),
    ):
        with pytest.raises(error):
            record()
    assert (history.position, len(history), small.position) == (0, 0, 0)


def test_a_category_that_keeps_nothing_has_no_ids(clock):
    """Its events are sent as they are, cost nothing, and leave no hole that anybody would have to be told of."""
    history = MemoryHistory(Keep(count=0), categories={"kitchen": Keep()}, timer=clock, tag="t")
    assert history.record(LOBBY, Event("a", id="mine")) == b"id: mine\ndata: a\n\n"
    cursor = history.cursor()
    say(history, "b", (ANY, ("kitchen", ANY)))
    assert everything(history, cursor, ANN) == ([], [])
    assert everything(history, cursor, COOK) == ([], ["b"])


# -- replaying


def test_a_client_gets_what_it_has_missed(history):
    """What matched its key since its last event, in order, and not that event again."""
    first = say(history, "1")
    say(history, "for brian", BRIAN)
    say(history, "for ann", ANN)
    say(history, "kitchen", (ANY, ("kitchen", ANY)))
    say(history, "all", EVERYBODY)
    last = say(history, "all of default", ("default", (ANY, ANY)))
    assert everything(history, first, ANN) == ([], ["for ann", "all", "all of default"])
    assert everything(history, first, BRIAN) == ([], ["for brian", "all", "all of default"])
    assert everything(history, first, STRANGER) == ([], ["all"])
    assert everything(history, last, ANN) == ([], [])
    assert everything(history, "0-t1", COOK) == ([], ["kitchen", "all", "all of default"])
    assert everything(history, history.cursor(), ANN) == ([], [])


def test_ids_of_a_replay_are_those_of_the_events(history):
    """A client that is cut in the middle of a replay goes on from there."""
    first = say(history, "1")
    ids = [say(history, text) for text in "234"]
    replay = history.since(first, ANN)
    assert [event.id for event in read(replay.events)] == ids
    assert everything(history, ids[1], ANN) == ([], ["4"])


@pytest.mark.parametrize(
    ("exclude", "left_out"),
    [
        ((), set()),
        ({ANN}, {ANN}),
        ([("default", ("lobby", "ann")), BRIAN], {ANN, BRIAN}),
        ((BRIAN,), {BRIAN}),
        (frozenset({COOK}), set()),
        (Pattern(ANY, (ANY, "ann")), {ANN, STRANGER}),
        (ANN, {ANN}),
    ],
)
def test_whoever_was_excluded_stays_excluded(history, exclude, left_out):
    """A replay has what the broadcast had: keys or a pattern that were left out do not get it later either."""
    say(history, "1", exclude=exclude)
    for key in (ANN, BRIAN, STRANGER):
        assert everything(history, "0-t1", key) == ([], [] if key in left_out else ["1"])


def test_no_string_is_a_wildcard(history):
    """One who is called * gets what is for him, and others do not."""
    say(history, "1", ("default", ("lobby", "*")))
    assert everything(history, "0-t1", Key("default", ("lobby", "*"))) == ([], ["1"])
    assert everything(history, "0-t1", ANN) == ([], [])


def test_a_replay_needs_a_key(history):
    """A pattern must not get what many keys got."""
    with pytest.raises(KeyShapeError):
        history.since("0-t1", LOBBY)


# -- in parts


def test_a_replay_comes_in_parts(clock):
    """No part is larger than its bound, but for a single event; together they are everything, in order."""
    history = MemoryHistory(timer=clock, tag="t", part_size=100)
    texts = [str(n) * (1 + n * 7 % 50) for n in range(40)] + ["x" * 500, "end"]
    for text in texts:
        say(history, text)
    replay = history.since("0-t", ANN)
    parts = [replay]
    while not replay.done:
        assert replay.events
        replay = history.more(replay)
        parts.append(replay)
    assert all(sum(map(len, part.events)) <= 100 or len(part.events) == 1 for part in parts)
    assert [text for part in parts for text in data(part)] == texts
    assert len(parts) > 10


def test_what_comes_during_a_replay_is_in_it(clock):
    """However busy the stream: a part that says done speaks for this very moment, so live events follow without a hole."""
    history = MemoryHistory(timer=clock, tag="t", part_size=60)
    for n in range(10):
        say(history, f"old {n}")
    replay, got = history.since("0-t", ANN), []
    for n in range(5):
        got += data(replay)
        say(history, f"new {n}")
        assert not replay.done
        replay = history.more(replay)
    while True:
        got += data(replay)
        if replay.done:
            break
        replay = history.more(replay)
    assert replay.position == history.position == 15
    assert got == [f"old {n}" for n in range(10)] + [f"new {n}" for n in range(5)]


def test_a_replay_may_end_where_live_events_began_to_wait(history):
    """With until, nothing after that place is in the replay, for it comes in another way."""
    first = say(history, "1")
    say(history, "2")
    until = history.position
    say(history, "3")
    replay = history.since(first, ANN, until=until)
    assert (data(replay), replay.done, replay.position) == (["2"], True, until)
    assert everything(history, history.cursor(), ANN, until=until) == ([], [])


def test_a_part_looks_at_a_bounded_number_of_events(clock, monkeypatch):
    """Ten thousand events for others are looked at in several steps; a part may be empty and not the last."""
    monkeypatch.setattr("sfere_tornado.history.memory.MAX_SCAN", 10)
    history = MemoryHistory(timer=clock, tag="t")
    for n in range(25):
        say(history, str(n), BRIAN)
    say(history, "at last", ANN)
    replay = history.since("0-t", ANN)
    assert (replay.events, replay.done, replay.position) == ((), False, 10)
    assert everything(history, "0-t", ANN) == ([], ["at last"])
    assert (MAX_SCAN, PIECE_SIZE, MAX_CATEGORIES, MAX_DROPPED) == (10_000, 65_536, 100, 1000)


# -- bounds and gaps


def test_the_oldest_are_dropped_by_count(clock):
    """Count 3 keeps three; whoever missed a dropped one is told of the gap first, then gets what is left."""
    history = MemoryHistory(Keep(count=3), timer=clock, tag="t")
    ids = [say(history, str(n)) for n in range(5)]
    assert len(history) == 3
    assert everything(history, ids[0], ANN) == (["too_old"], ["2", "3", "4"])
    assert everything(history, ids[1], ANN) == ([], ["2", "3", "4"])


def test_the_oldest_are_dropped_by_age(clock):
    """What has reached its age is dropped, also for a reader who comes before the next event."""
    history = MemoryHistory(Keep(age=10), timer=clock, tag="t")
    first = say(history, "1")
    clock.advance(5)
    second = say(history, "2")
    clock.advance(4.9)
    assert everything(history, "0-t", ANN) == ([], ["1", "2"])
    clock.advance(0.1)
    assert everything(history, "0-t", ANN) == (["too_old"], ["2"])
    assert everything(history, first, ANN) == ([], ["2"])
    clock.advance(100)
    assert everything(history, first, ANN) == (["too_old"], [])
    assert everything(history, second, ANN) == ([], [])


def test_the_oldest_are_dropped_by_bytes(clock):
    """Bytes on the wire count; an event that is larger than the bound is sent, and not kept."""
    size = len(MemoryHistory(tag="t").record(LOBBY, Event("1")))
    history = MemoryHistory(Keep(bytes=2 * size), timer=clock, tag="t")
    for text in "123":
        say(history, text)
    assert everything(history, "0-t", ANN) == (["too_old"], ["2", "3"])
    say(history, "x" * 100)
    assert len(history) == 0
    assert everything(history, "3-t", ANN) == (["too_old"], [])


def test_the_bounds_are_of_each_category(clock):
    """A busy category pushes nothing out of a quiet one; what is for everybody is a category of its own."""
    history = MemoryHistory(
        Keep(count=2), categories={"kitchen": Keep(count=1)}, timer=clock, tag="t"
    )
    say(history, "for cook", (ANY, ("kitchen", ANY)))
    say(history, "for all", EVERYBODY)
    for n in range(10):
        say(history, str(n))
    assert everything(history, "0-t", COOK) == ([], ["for cook", "for all"])
    assert everything(history, "0-t", ANN) == (["too_old"], ["for all", "8", "9"])


def test_a_hole_that_concerns_only_others_is_none(clock):
    """What was dropped and was for others, or excluded this one, is no gap."""
    history = MemoryHistory(Keep(count=1), timer=clock, tag="t")
    say(history, "for brian", BRIAN)
    say(history, "not for ann", exclude={ANN})
    say(history, "for strangers", ("other", (("lobby"), ANY)))
    say(history, "last")
    assert everything(history, "0-t", ANN) == ([], ["last"])
    assert everything(history, "0-t", BRIAN) == (["too_old"], ["last"])
    assert everything(history, "1-t", BRIAN) == (["too_old"], ["last"])
    assert everything(history, "2-t", BRIAN) == ([], ["last"])


def test_more_addressees_than_are_remembered(clock, monkeypatch):
    """Of those dropped longest ago only the latest place is known: a client older than that is told of a gap."""
    monkeypatch.setattr("sfere_tornado.history.log.MAX_DROPPED", 3)
    history = MemoryHistory(Keep(count=1), timer=clock, tag="t")
    for n in range(6):
        say(history, "x", Key("default", ("lobby", n)))
    # Dropped are 1 to 5, of which 3 to 5 are remembered.
    assert everything(history, "1-t", ANN) == (["too_old"], [])
    assert everything(history, "2-t", ANN) == ([], [])
    assert everything(history, "2-t", Key("default", ("lobby", 2))) == (["too_old"], [])


def test_the_category_that_was_silent_for_longest_is_dropped_as_a_whole(clock):
    """Categories are bounded; a client of a dropped one is told, also when the category has come back."""
    history = MemoryHistory(timer=clock, tag="t", max_categories=2)
    kitchen = (ANY, ("kitchen", ANY))
    say(history, "soup", kitchen)
    say(history, "hello")
    say(history, "soup again", kitchen)
    say(history, "flowers", (ANY, ("garden", ANY)))
    # The lobby has been dropped.
    assert everything(history, "1-t", ANN) == (["too_old"], [])
    assert everything(history, "2-t", ANN) == ([], [])
    assert everything(history, "0-t", COOK) == ([], ["soup", "soup again"])
    # What has never been there cannot be told from what was dropped.
    assert everything(history, "1-t", Key("default", ("attic", 1))) == (["too_old"], [])
    say(history, "hello again")
    assert everything(history, "1-t", ANN) == (["too_old"], ["hello again"])
    assert everything(history, "3-t", ANN) == ([], ["hello again"])
    assert len(history) == 2


def test_a_gap_is_told_once_in_a_replay(clock):
    """The first part says that something is missing; parts after it say so only of what is dropped meanwhile."""
    history = MemoryHistory(
        Keep(count=5), categories={ANY: Keep()}, timer=clock, tag="t", part_size=30
    )
    for n in range(5):
        say(history, f"all {n}", EVERYBODY)
    for n in range(10):
        say(history, str(n))
    assert everything(history, "0-t", ANN) == (
        ["too_old"],
        [*(f"all {n}" for n in range(5)), *"56789"],
    )
    replay = history.since("0-t", ANN)
    for n in range(20):
        say(history, f"new {n}")
    again = history.more(replay)
    assert (replay.gap, again.gap) == ("too_old", "too_old")
    assert history.more(again).gap is None


@pytest.mark.parametrize(
    ("wrong", "gap"),
    [
        ("0-other", "foreign"),
        ("99-t1", "foreign"),
        ("3-t1", "foreign"),
        ("2-T1", "foreign"),
        ("", "garbage"),
        (None, "garbage"),
        (7, "garbage"),
        (b"1-t1", "garbage"),
        ("1", "garbage"),
        ("-1-t1", "garbage"),
        ("1-t1 ", "garbage"),
        ("1-t1\n", "garbage"),
        ("1-t1\x00", "garbage"),
        ("\u0661-t1", "garbage"),
        ("1_0-t1", "garbage"),
        ("+1-t1", "garbage"),
        ("\u00c3\u00a9\u00e2\u0080\u00a6", "garbage"),
        ("1" * 65_536, "garbage"),
        ("1" * 65_536 + "-t1", "garbage"),
        ("9" * 18 + "-t1", "foreign"),
        ("1-" + "t" * 65_536, "garbage"),
        ("\ud800", "garbage"),
    ],
)
def test_what_is_no_id_of_this_history_is_a_gap(history, wrong, gap):
    """Other histories' ids, those not given out yet, and garbage: a gap, then nothing old, then what comes."""
    say(history, "1")
    say(history, "2")
    replay = history.since(wrong, ANN)
    assert (replay.gap, replay.events, replay.done, replay.position) == (gap, (), True, 2)
    say(history, "3")
    assert data(history.more(replay)) == ["3"]


HISTORY = MemoryHistory(tag="t1", timer=FakeClock())
for number in range(3):
    say(HISTORY, f"secret {number}", BRIAN)
    say(HISTORY, f"for all {number}")


@settings(deadline=None, max_examples=500)
@given(
    st.one_of(
        st.text(), st.binary().map(lambda raw: raw.decode("latin-1")), st.from_regex("[0-9]+-t1")
    )
)
@example("0-t1")
def test_whatever_a_client_sends_it_gets_nobody_elses_events(sent):
    """Fuzzed ids are never an error, and never a way to what was for another key."""
    replay = HISTORY.since(sent, ANN)
    assert replay.done
    assert replay.gap is not None or sent.endswith("-t1")
    assert not any("secret" in text for text in data(replay))


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": -1},
        {"count": True},
        {"count": 1.5},
        {"bytes": 0},
        {"age": 0},
        {"age": float("nan")},
        {"age": "5m"},
    ],
)
def test_a_bound_is_in_its_range(wrong):
    """Counts and sizes are whole numbers, an age is a time; otherwise the error names the bound."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Keep(**wrong)


@pytest.mark.parametrize("name", ["max_categories", "part_size"])
@pytest.mark.parametrize("wrong", [0, True, 1.5, None])
def test_a_bound_of_the_history_is_in_its_range(name, wrong):
    """Whole numbers from 1."""
    with pytest.raises(ValueError, match=name):
        MemoryHistory(**{name: wrong})


def test_dropped_events_leave_no_memory_behind(clock):
    """What is dropped is cut off now and then, so that the list of a category stays near to its bound."""
    history = MemoryHistory(Keep(count=10), timer=clock, tag="t")
    for n in range(1000):
        say(history, str(n))
    log = history._logs["lobby"]
    assert (len(log), len(log._records) < 100, len(log._dropped)) == (10, True, 1)
    assert repr(log) == f"<Log of 10 events, {log._bytes} bytes, up to 1000>"
    assert len(Log(Keep(), 0)) == 0


# -- many clients, many cuts

EVENT = Event("x")


def places(payloads):
    """Return the places of events in the sequence, read quickly from their bytes."""
    return [int(payload[4 : payload.index(b"-")]) for payload in payloads]


class Crowd:
    """Clients of one history that are cut and come back, while events go on; and for each, what was for it.

    A live client has everything that is recorded: recording and delivering are one turn. So what is to be shown is that a
    replay brings exactly what was recorded between the cut and the moment at which it is done.
    """

    def __init__(self, history, clients):
        self.history = history
        self.keys = [Key("default", ("lobby", number)) for number in range(clients)]
        self.chance = random.Random(1)
        #: Places of events: for all, and for each key those for it alone, and those for all but it.
        self.for_all = []
        self.for_one = {key: [] for key in self.keys}
        self.not_for = {key: [] for key in self.keys}
        #: Of each return: the gaps it was told, what it got, and what it should get.
        self.returns = []

    def record(self):
        place, kind, key = (
            self.history.position + 1,
            self.chance.random(),
            self.chance.choice(self.keys),
        )
        if kind < 0.7:
            self.for_one[key].append(place)
            self.history.record(key, EVENT)
            return
        self.for_all.append(place)
        if kind < 0.9:
            self.history.record(LOBBY, EVENT)
        else:
            self.not_for[key].append(place)
            self.history.record(LOBBY, EVENT, exclude={key})

    def due(self, key, after):
        """Return the places of what was for a key after a place, in order."""
        without = set(self.not_for[key])
        common = [
            place
            for place in self.for_all[bisect_right(self.for_all, after) :]
            if place not in without
        ]
        own = self.for_one[key]
        return sorted(common + own[bisect_right(own, after) :])

    def come_back(self, key, last):
        replay = self.history.since(f"{last}-{self.history.tag}", key)
        gaps, got = [replay.gap], places(replay.events)
        while not replay.done:
            # The stream is busy: between two parts there is always something new.
            self.record()
            replay = self.history.more(replay)
            gaps.append(replay.gap)
            got += places(replay.events)
        self.returns.append(([gap for gap in gaps if gap], got, self.due(key, last)))

    def play(self, events, cuts, absence):
        # A client without a place has not seen anything yet: it begins with the cursor of its page.
        last, away, gone = dict.fromkeys(self.keys, 0), {}, set()
        cut_at = {self.chance.randrange(events) for _ in range(cuts)}
        for step in range(events):
            if step in cut_at:
                key = self.chance.choice([key for key in self.keys if key not in gone])
                gone.add(key)
                # Among so many events there is always one for it, and the last one is the id it comes back with.
                last[key] = max([last[key], *self.due(key, self.history.position - 400)[-1:]])
                away.setdefault(step + self.chance.randrange(1, absence), []).append(key)
            for key in away.pop(step, ()):
                gone.remove(key)
                self.come_back(key, last[key])
            self.record()
        return self.returns


def test_nothing_is_lost_doubled_or_out_of_order():
    """200,000 events, 500 keys, 10,000 cuts and returns: each gets exactly what was for it, in order, without a gap."""
    crowd = Crowd(
        MemoryHistory(Keep(count=2000, bytes=10**9), timer=FakeClock(), part_size=1000), 500
    )
    returns = crowd.play(events=200_000, cuts=10_500, absence=200)
    assert len(returns) > 10_000
    assert crowd.history.position > 200_000
    assert [each for each in returns if each[0] or each[1] != each[2]] == []
    assert sum(len(got) for _, got, _ in returns) > 100_000


def test_with_a_history_too_small_every_hole_is_told():
    """With a hundred events kept, whoever misses one is told, whoever misses none is not, and nothing comes twice."""
    crowd = Crowd(
        MemoryHistory(Keep(count=100, bytes=10**9), timer=FakeClock(), part_size=1000), 500
    )
    holes = 0
    for gaps, got, due in crowd.play(events=40_000, cuts=3000, absence=400):
        assert got == due[len(due) - len(got) :]
        assert bool(gaps) is (len(got) < len(due))
        holes += len(got) < len(due)
    assert holes > 1000
