"""Events become bytes and bytes become events; what was written is what is read."""

import dataclasses
import enum
import json
import random
import re
import sys
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfere_tornado.errors import EventError, EventStreamError, EventTooLargeError
from sfere_tornado.testing.parser import MAX_COMMENTS, Parser, Received
from sfere_tornado.wire import event_stream
from sfere_tornado.wire.event_stream import (
    Event,
    comment,
    data_lines,
    data_text,
    encode,
    last_id,
    retry,
)

#: Everything that has ever been taken for a line end, a field's end or nothing, and some plain text.
TRICKY = [
    *("\r", "\n", "\r\n", "\0", "\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e"),
    *(":", " ", "  ", "\t", "\ufeff", "", "data: ", "\nid: 7", "\n\nevent: forged\n", "retry: 1"),
    *("a", "hello", "{}", "\u00e9", "\u20ac", "\U0001f40d", "[DONE]"),
]


def read(stream, **options):
    return Parser(**options).feed(stream)


def line_ends_as_lf(text):
    return re.sub("\r\n|\r", "\n", text)


# -- what an event may be


def test_an_event_on_the_wire():
    """Fields stand in the order event, id, retry, data, each with one space, closed by one blank line."""
    event = Event("one\ntwo", event="notice", id="7", retry=1500)
    assert encode(event) == b"event: notice\nid: 7\nretry: 1500\ndata: one\ndata: two\n\n"


def test_missing_fields_are_left_out():
    """A field that is None is not written."""
    assert encode(Event("x")) == b"data: x\n\n"


@pytest.mark.parametrize("field", ["event", "id"])
@pytest.mark.parametrize("bad", ["\n", "\r", "\r\n", "\0", "a\nid: forged", "ok\n\ndata: forged"])
def test_no_name_and_no_id_can_add_a_field(field, bad):
    """Stops whoever controls a name or id from adding fields or events: CR, LF and NUL are refused."""
    with pytest.raises(EventError, match="CR, LF or NUL") as caught:
        Event("x", **{field: bad})
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"data": b"x"}, "data"),
        ({"data": None}, "data"),
        ({"data": "x", "event": 1}, "event"),
        ({"data": "x", "id": 7}, "id"),
        ({"data": "x", "event": "\ud800"}, "event"),
        ({"data": "x", "id": "\u00e9"}, "id"),
        ({"data": "x", "id": "x" * 257}, "id"),
        ({"data": "x", "retry": -1}, "retry"),
        ({"data": "x", "retry": True}, "retry"),
        ({"data": "x", "retry": 1.5}, "retry"),
        ({"data": "x", "retry": "1000"}, "retry"),
        ({"data": "x", "retry": 2**53}, "retry"),
        ({"data": "x", "retry": 10**5000}, "retry"),
    ],
)
def test_an_event_is_checked_when_it_is_made(fields, field):
    """An event that may not stand on the wire cannot exist, and the error names the field."""
    with pytest.raises(EventError) as caught:
        Event(**fields)
    assert caught.value.field == field
    assert f"event field '{field}'" in str(caught.value)


def test_the_limits_themselves_are_allowed():
    """An id of 256 bytes, a reconnection time of 0 and the longest one are allowed."""
    assert Event("x", id="x" * event_stream.MAX_ID_SIZE, retry=0).retry == 0
    assert read(encode(Event("x", retry=event_stream.MAX_RETRY))) == [Received("message", "x", "")]


def test_an_event_stays_as_it_was_checked():
    """An event is frozen: nobody changes a field after it was checked."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Event("x").event = "a\nb"


def test_an_enum_of_strings_is_written_as_its_value():
    """A name that is an enum of strings goes out as the string it is, not as the enum prints it."""

    class Name(str, enum.Enum):  # noqa: UP042  # the kind whose str() is not its value
        LEFT = "left"

    assert (
        encode(Event(Name.LEFT, event=Name.LEFT, id=Name.LEFT))
        == b"event: left\nid: left\ndata: left\n\n"
    )


# -- data


def test_empty_data_is_an_event():
    """Empty data is written as a data field, so that a client gets an event with empty data."""
    assert encode(Event("")) == b"data: \n\n"
    assert read(encode(Event(""))) == [Received("message", "", "")]


def test_nothing_is_stripped():
    """Leading and trailing spaces of a line reach the client, also where a line is only a keyword and a space."""
    assert encode(Event("elements ")) == b"data: elements \n\n"
    assert read(encode(Event("  a  \n b\n\n"))) == [Received("message", "  a  \n b\n\n", "")]


@pytest.mark.parametrize(
    "character", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\0"]
)
def test_data_is_cut_at_line_ends_only(character):
    """What str.splitlines takes for a line end, and an event stream does not, stays in its line."""
    assert data_lines(f"a{character}b") == [f"a{character}b"]
    assert encode(Event(f"a{character}b")).count(b"data: ") == 1


def test_the_three_line_ends_become_lf():
    """CRLF, CR and LF each end a line, CRLF only one, and the client sees LF."""
    assert data_lines("a\r\nb\rc\nd\n\re") == ["a", "b", "c", "d", "", "e"]
    assert read(encode(Event("a\r\nb\rc\nd"))) == [Received("message", "a\nb\nc\nd", "")]


def test_a_lone_surrogate_is_an_error_before_there_is_a_byte():
    """Half of a surrogate pair, which JSON from a client can contain, is an error that says where it stands."""
    with pytest.raises(EventError, match=r"U\+D800 at character 2") as caught:
        encode(Event("ab\ud800", event="x", id="1"))
    assert caught.value.field == "data"


def test_an_event_over_the_limit_is_refused():
    """An event has at most so many bytes on the wire, fields and blank line included."""
    size = len(encode(Event("x" * 100, event="e")))
    assert len(encode(Event("x" * 100, event="e"), size)) == size
    with pytest.raises(EventTooLargeError) as caught:
        encode(Event("x" * 100, event="e"), size - 1)
    assert (caught.value.size, caught.value.limit) == (size, size - 1)


def test_the_limit_counts_bytes_and_not_characters():
    """Characters of several bytes, and the field names of many lines, count as what they take on the wire."""
    with pytest.raises(EventTooLargeError):
        encode(Event("\u20ac" * 40), 100)
    with pytest.raises(EventTooLargeError):
        encode(Event("\n" * 40), 100)


def test_data_far_over_the_limit_is_refused_before_it_is_copied():
    """What has more characters than the limit has bytes is refused without making the event, surrogates or not."""
    event = Event("\n" * 2_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(EventTooLargeError):
            encode(event)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(event.data)
    finally:
        tracemalloc.stop()
    with pytest.raises(EventError, match="surrogate"):
        encode(Event("\ud800" * 20), 10)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        ({"one": 1, "two": [True, None]}, '{"one":1,"two":[true,null]}'),
        ("", ""),
        (7, "7"),
        (None, "null"),
        ({"name": "\u00e9"}, '{"name":"\u00e9"}'),
        ("\ud800", "\ud800"),
    ],
)
def test_data_text(value, text):
    """A string is sent as it is, anything else as compact JSON with its characters unescaped."""
    assert data_text(value) == text


def endless():
    value = []
    value.append(value)
    return value


def deep():
    value = []
    for _ in range(sys.getrecursionlimit() * 20):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), {1, 2}, b"x", object(), {(1, 2): 3}, endless(), deep()]
)
def test_what_json_cannot_say_is_an_error(value):
    """NaN, which no JSON reader takes, and everything else that JSON cannot say, is an error about the data."""
    with pytest.raises(EventError, match="JSON") as caught:
        data_text(value)
    assert caught.value.field == "data"


# -- comments and reconnection times


@pytest.mark.parametrize("text", ["", "hello", "a\nb", "a\r\n\r\ndata: forged\r\n\r\n", "a\rid: 7"])
def test_a_comment_is_never_anything_else(text):
    """Stops whoever controls a comment's text from adding events: each of its lines is a comment."""
    parser = Parser()
    assert parser.feed(comment(text) + b"\n\n") == []
    assert list(parser.comments) == data_lines(text)
    assert parser.last_event_id == ""


def test_a_heartbeat_ends_no_event():
    """A comment brings no blank line of its own: some client libraries would make an event of it."""
    assert comment() == b":\n"
    assert comment("ping") == b": ping\n"


def test_a_comment_that_utf8_cannot_say():
    """A lone surrogate in a comment is an error too."""
    with pytest.raises(EventError) as caught:
        comment("\udfff")
    assert caught.value.field == "comment"


def test_retry_is_a_block_of_its_own():
    """A reconnection time alone is set, and makes no event."""
    parser = Parser()
    assert retry(2500) == b"retry: 2500\n\n"
    assert parser.feed(retry(2500)) == []
    assert parser.retry == 2500
    with pytest.raises(EventError):
        retry(-1)
    with pytest.raises(EventError):
        retry(None)


# -- reading


@pytest.mark.parametrize("strict", [True, False])
def test_the_examples_of_the_standard(strict):
    """The example streams of WHATWG HTML 9.2.6 are read as it says."""
    assert read(b"data: YHOO\ndata: +2\ndata: 10\n\n", strict=strict) == [
        Received("message", "YHOO\n+2\n10", "")
    ]
    stream = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"
    assert read(stream, strict=strict) == [
        Received("message", "first event", "1"),
        Received("message", "second event", ""),
        Received("message", " third event", ""),
    ]
    assert read(b"data\n\ndata\ndata\n\ndata:", strict=strict) == [
        Received("message", "", ""),
        Received("message", "\n", ""),
    ]
    assert (
        read(b"data:test\n\ndata: test\n\n", strict=strict) == [Received("message", "test", "")] * 2
    )


def test_an_id_stays_until_it_changes():
    """The last event id holds for later events, is set by a block without data too, and is reset by an empty one."""
    parser = Parser()
    assert parser.feed(b"id: 1\n\ndata: a\n\n") == [Received("message", "a", "1")]
    assert parser.feed(b"id: 2\n") == []
    assert parser.last_event_id == "1"
    assert parser.feed(b"\n") == []
    assert parser.last_event_id == "2"
    assert parser.feed(b"data: b\nid:\n\n") == [Received("message", "b", "")]


def test_a_name_holds_for_one_event():
    """The name of an event, also of one without data, does not reach the next one."""
    assert read(b"event: a\n\ndata: x\n\nevent: b\ndata: y\n\nevent:\ndata: z\n\n") == [
        Received("message", "x", ""),
        Received("b", "y", ""),
        Received("message", "z", ""),
    ]


def test_an_unfinished_event_is_no_event():
    """What has no closing blank line is not given out."""
    assert read(b"data: a\n") == []


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_every_line_end_byte_by_byte(end):
    """Each kind of line end works wherever the pieces are cut, and an event is given out with its last byte."""
    stream = b"\xef\xbb\xbf" + end.join(
        [b": c", b"event: e", "data: \u20ac".encode(), b"data: y", b"", b"data: z", b"", b""]
    )
    parser = Parser()
    got = [parser.feed(bytes([byte])) for byte in stream]
    assert [event for events in got for event in events] == [
        Received("e", "\u20ac\ny", ""),
        Received("message", "z", ""),
    ]
    assert got[-1] == [] if end == b"\r\n" else got[-1] != []
    assert list(parser.comments) == ["c"]


def test_empty_pieces_change_nothing():
    """An empty piece between CR and LF does not make a second line end of them."""
    parser = Parser()
    assert parser.feed(b"data: a\r") == []
    assert parser.feed(b"") == []
    assert parser.feed(b"\ndata: b\r\n\r\n") == [Received("message", "a\nb", "")]


def test_one_bom_at_the_start_is_dropped():
    """A byte order mark is dropped where the stream begins, and is part of a field's name later."""
    assert read(b"\xef\xbb\xbfdata: a\n\n") == [Received("message", "a", "")]
    assert read(b"\xef\xbb\xbf\n\ndata: a\n\n") == [Received("message", "a", "")]
    assert read(b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", strict=False) == []
    assert read(b"data: a\n\n\xef\xbb\xbfdata: b\n\n", strict=False) == [
        Received("message", "a", "")
    ]


@pytest.mark.parametrize(
    ("stream", "problem", "line"),
    [
        (b"data: a\n\nData: b\n\n", "unknown field, 'Data'", 3),
        (b"hello\n\n", "unknown field, 'hello'", 1),
        (b"retry: 1.5\n\n", "not a number, '1.5'", 1),
        (b"retry: \n\n", "not a number, ''", 1),
        ("data\nretry: \u0661\n\n".encode(), "not a number", 2),
        (b"\nid: a\0b\n\n", "NUL", 2),
        (b"data: a\r\ndata: \xff\r\n\r\n", r"not UTF-8, b'\xff'", 2),
        (b"data: \xe2\x82\n\n", "not UTF-8", 1),
    ],
)
def test_a_strict_reader_refuses_what_a_correct_server_never_sends(stream, problem, line):
    """A strict reader names the problem and its line, and stays with its error."""
    parser = Parser()
    with pytest.raises(EventStreamError) as caught:
        parser.feed(stream)
    assert problem in str(caught.value)
    assert caught.value.line == line
    with pytest.raises(EventStreamError) as again:
        parser.feed(b"data: fine\n\n")
    assert again.value is caught.value


def test_a_lenient_reader_does_what_a_browser_does():
    """A lenient reader ignores unknown fields, bad times and ids with NUL, and replaces what is not UTF-8."""
    parser = Parser(strict=False)
    stream = b"nonsense\nid: 1\nid: a\0b\nretry: 500\nretry: 1000x\ndata: a\xffb\xe2\x82\n\n"
    assert parser.feed(stream) == [Received("message", "a\ufffdb\ufffd", "1")]
    assert parser.retry == 500


@pytest.mark.parametrize("digits", ["9" * 17, "9" * 5000, "0" * 5000 + "9" * 40])
def test_a_reconnection_time_is_read_up_to_its_limit(digits):
    """A number of thousands of digits, which Python refuses to read, is the longest time and no crash."""
    parser = Parser()
    parser.feed(f"retry: {digits}\n\n".encode())
    assert parser.retry == event_stream.MAX_RETRY


def test_leading_zeros_of_a_reconnection_time():
    """Zeros before a number, however many, do not change it."""
    parser = Parser()
    parser.feed(b"retry: " + b"0" * 5000 + b"42\n\n")
    assert parser.retry == 42
    parser.feed(b"retry: 000\n\n")
    assert parser.retry == 0


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    "stream", [b"data: " + b"x" * 100, b"data: x\n" * 20, b"data: " + b"x" * 100 + b"\n\n"]
)
@pytest.mark.parametrize("piece", [7, 1000])
def test_an_unfinished_event_is_bounded(strict, stream, piece):
    """Stops a server that never ends a line or an event from filling its reader's memory."""
    parser = Parser(strict=strict, max_buffered=100)
    pieces = [stream[start : start + piece] for start in range(0, len(stream), piece)]
    with pytest.raises(EventStreamError, match="raise max_buffered"):
        list(map(parser.feed, pieces))


def test_comments_are_bounded():
    """A stream of nothing but comments goes on for ever, and only the newest comments are kept."""
    parser = Parser(max_buffered=100)
    parser.feed(b"".join(b": %d\n" % number for number in range(MAX_COMMENTS + 5)))
    assert len(parser.comments) == MAX_COMMENTS
    assert parser.comments[-1] == str(MAX_COMMENTS + 4)


def test_what_a_parser_shows():
    """A parser's repr tells where it is and what it holds."""
    parser = Parser()
    parser.feed(b"data: a\n\ndat")
    assert repr(parser) == "<Parser line 3, 3 bytes of an unfinished event>"


# -- both together


def tricky_text(rng):
    return "".join(rng.choices(TRICKY, k=rng.randrange(6)))


def test_what_was_written_is_what_is_read():
    """Of 100,000 generated fields none adds a field or an event, and none is changed but for its line ends."""
    rng = random.Random(20261124)
    fields = refused = 0
    last_id = ""
    wanted, stream = [], []
    while fields < 100_000:
        name, event_id, data = tricky_text(rng), tricky_text(rng), tricky_text(rng)
        fields += 3
        given = {"event": name, "id": event_id}
        for field, value in list(given.items()):
            try:
                Event(data, **{field: value})
            except EventError:
                assert re.search("[\r\n\0]", value) or (field == "id" and not value.isascii())
                del given[field]
                refused += 1
        last_id = given.get("id", last_id)
        wanted.append(Received(given.get("event") or "message", line_ends_as_lf(data), last_id))
        stream.append(encode(Event(data, **given)))
        if rng.random() < 0.05:
            stream.append(comment(tricky_text(rng)))
    assert 0.2 < refused / fields < 0.6
    data = b"".join(stream)
    parser, got, position = Parser(), [], 0
    while position < len(data):
        size = rng.choice([1, 2, 3, 7, 50, 1000])
        got += parser.feed(data[position : position + size])
        position += size
    assert got == wanted


def test_a_megabyte_is_written_and_read():
    """With raised bounds an event of 1 MB, of all the tricky characters, arrives whole."""
    rng = random.Random(1)
    data = "".join(rng.choices(TRICKY, k=400_000))
    assert len(data.encode()) > 1_000_000
    stream = encode(Event(data), 8_000_000)
    parser, got = Parser(max_buffered=8_000_000), []
    for start in range(0, len(stream), 4096):
        got += parser.feed(stream[start : start + 4096])
    assert got == [Received("message", line_ends_as_lf(data), "")]


@given(
    st.text(),
    st.none() | st.text(),
    st.none() | st.text(st.characters(max_codepoint=127)),
    st.integers(0, 99),
)
@settings(deadline=None, max_examples=300)
def test_any_text_is_refused_or_arrives(data, name, event_id, retry_ms):
    """Whatever the text, an event is refused when it is made, or arrives as it was made."""
    try:
        event = Event(data, name, event_id, retry_ms)
    except EventError:
        return
    parser = Parser()
    assert parser.feed(encode(event)) == [
        Received(name or "message", line_ends_as_lf(data), event_id or "")
    ]
    assert parser.retry == retry_ms


@given(st.binary(max_size=200), st.integers(1, 50))
@settings(deadline=None, max_examples=300)
def test_a_lenient_reader_takes_any_bytes_however_cut(stream, size):
    """Any bytes are read without an error, and how they are cut into pieces makes no difference."""
    whole, parser = Parser(strict=False), Parser(strict=False)
    expected = whole.feed(stream)
    got = [
        event
        for start in range(0, len(stream), size)
        for event in parser.feed(stream[start : start + size])
    ]
    assert got == expected
    assert (parser.retry, parser.last_event_id, parser.line) == (
        whole.retry,
        whole.last_event_id,
        whole.line,
    )


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")), st.lists
    )
)
@settings(deadline=None, max_examples=100)
def test_json_arrives_as_the_same_value(value):
    """A value that JSON can say comes out of the data of its event as it went in."""
    (event,) = read(encode(Event(data_text([value]))))
    assert json.loads(event.data) == [value]


def test_a_cursor_is_remembered_and_is_no_event():
    """The block sets the id of the client, and gives its application nothing."""
    parser = Parser()
    assert parser.feed(last_id("7-abc")) == []
    assert parser.last_event_id == "7-abc"
