"""How one setting is written, and what it may be."""

import enum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfere_tornado.config.values import (
    Choice,
    Choices,
    Count,
    Duration,
    Size,
    Switch,
    duration_text,
    size_text,
)
from sfere_tornado.errors import ConfigError

DAY = 86400.0
TIME = Duration(0.0, 10 * DAY)
SIZE = Size(0, 2**40)
WORDS = Choice(("memory", "expiring"))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30.0),
        ("1m30s", 90.0),
        ("500ms", 0.5),
        ("2h", 7200.0),
        ("1d", DAY),
        ("0s", 0.0),
        ("1d2h3m4s5ms", 93784.005),
        ("90m", 5400.0),
        ("1m5ms", 60.005),
        ("007s", 7.0),
    ],
)
def test_durations(text, seconds):
    """A duration is numbers with their units, the longest first, and is kept as seconds."""
    assert TIME.read(text) == seconds
    assert isinstance(TIME.read(text), float)


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("30", "30s"),
        ("30 s", "30s"),
        ("30S", "30s"),
        ("1M30S", "1m30s"),
        ("1 h 30 m", "1h30m"),
        ("10:00", None),
        ("1.5s", None),
        ("-1s", None),
        ("+1s", None),
        ("30s1m", None),
        ("1s1s", None),
        ("30sec", None),
        ("s", None),
        ("", None),
        ("1e3s", None),
        ("1_000s", None),
        ("\u0663s", None),
        ("30s\n", None),
        ("1" * 10 + "s", None),
    ],
)
def test_no_durations(text, suggestion):
    """A number without a unit, and any other writing, is not a valid duration; the nearest right one is suggested."""
    with pytest.raises(ConfigError, match="is not a valid duration") as caught:
        TIME.read(text)
    assert caught.value.suggestion == suggestion


@pytest.mark.parametrize("kind", [Duration(1.0, 3600.0), Size(1, 3600), Count(1, 3600)])
@pytest.mark.parametrize("value", [0, 3601, -1, 10**400])
def test_ranges(kind, value):
    """A value outside of its bounds is refused, and the bounds themselves are allowed."""
    with pytest.raises(ConfigError, match="must be from"):
        kind.check(value)
    assert kind.check(1) == 1
    assert kind.check(3600) == 3600


def test_a_range_is_told_in_the_words_of_a_document():
    """The error of a range has the units that one writes."""
    with pytest.raises(ConfigError, match=r"^configuration: must be from 1s to 1h, not 500ms$"):
        Duration(1.0, 3600.0).read("500ms")
    with pytest.raises(ConfigError, match=r"^configuration: must be from 4KiB to 1GiB, not 100$"):
        Size(4096, 2**30).read("100")


@pytest.mark.parametrize("value", ["30s", None, True, b"1", [1]])
def test_seconds_are_numbers(value):
    """From Python a duration is a number of seconds, and neither a bool nor text."""
    with pytest.raises(ConfigError, match="must be a number of seconds"):
        TIME.check(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.5])
def test_seconds_are_finite_and_not_negative(value):
    """NaN, infinity and a negative time are out of range."""
    with pytest.raises(ConfigError, match="must be from 0s to 10d"):
        TIME.check(value)


def test_whole_seconds_become_floats():
    """A whole number of seconds is allowed, and kept as a float."""
    assert isinstance(TIME.check(30), float)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("16KiB", 16384),
        ("1MiB", 2**20),
        ("2GiB", 2**31),
        ("4096", 4096),
        ("64KB", 64000),
        ("1MB", 10**6),
        ("3GB", 3 * 10**9),
        ("7B", 7),
        ("0", 0),
    ],
)
def test_sizes(text, size):
    """A size is a number of bytes, or a number with its unit, of 1024 with an i and of 1000 without."""
    assert SIZE.read(text) == size


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("16 KiB", "16KiB"),
        ("16kib", "16KiB"),
        ("16kb", "16KB"),
        ("1Mib", "1MiB"),
        ("1mi", "1MiB"),
        ("1.5MiB", None),
        ("-1", None),
        ("MiB", None),
        ("1parsec", None),
        ("", None),
        ("1_000", None),
        ("1" * 16, None),
    ],
)
def test_no_sizes(text, suggestion):
    """Any other writing is not a valid size; the nearest right one is suggested."""
    with pytest.raises(ConfigError, match="is not a valid size") as caught:
        SIZE.read(text)
    assert caught.value.suggestion == suggestion


@pytest.mark.parametrize("kind", [SIZE, Count(0, 100)])
@pytest.mark.parametrize("value", ["1", 1.0, True, None])
def test_whole_numbers_are_ints(kind, value):
    """From Python a size or count is an int, and neither a bool, a float nor text."""
    with pytest.raises(ConfigError, match="must be a"):
        kind.check(value)


def test_counts():
    """A count is digits and nothing else."""
    assert Count(0, 100).read("42") == 42
    for text in ("", "4.2", "1e1", "-1", "0x10", "1_0", "4 2", "\u0663", "9" * 5000):
        with pytest.raises(ConfigError, match="not a valid whole number"):
            Count(0, 100).read(text)


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("on", "true"),
        ("yes", "true"),
        ("True", "true"),
        ("off", "false"),
        ("No", "false"),
        ("1", "true"),
        ("maybe", None),
    ],
)
def test_only_true_and_false_are_switches(text, suggestion):
    """What YAML 1.1 also takes for true and false is refused, with the right word."""
    with pytest.raises(ConfigError, match="neither true nor false") as caught:
        Switch().read(text)
    assert caught.value.suggestion == suggestion


def test_switches():
    """A switch is true or false, and from Python a bool."""
    assert Switch().read("true") is True
    assert Switch().read("false") is False
    assert Switch().check(False) is False
    with pytest.raises(ConfigError, match="must be True or False, not 1"):
        Switch().check(1)


def test_choices():
    """A choice is one of its words; a misspelt one gets the nearest."""
    assert WORDS.read("memory") == "memory"
    with pytest.raises(ConfigError, match="must be one of memory, expiring, not 'memry'") as caught:
        WORDS.read("memry")
    assert caught.value.suggestion == "memory"
    with pytest.raises(ConfigError, match="not None"):
        WORDS.check(None)


def test_an_enum_of_strings_becomes_its_word():
    """An enum that is equal to a word is kept as the plain word."""

    class Kind(str, enum.Enum):  # noqa: UP042  # the kind whose str() is not its value
        MEMORY = "memory"

    assert type(WORDS.check(Kind.MEMORY)) is str


def test_several_choices():
    """Several words are kept as a frozenset; they come from a list, never from one text."""
    several = Choices(WORDS)
    assert several.check(["memory"]) == frozenset({"memory"})
    assert several.check({"memory", "expiring"}) == frozenset({"memory", "expiring"})
    with pytest.raises(ConfigError, match="must be a list") as caught:
        several.read("memory")
    assert caught.value.suggestion == "[memory]"
    with pytest.raises(ConfigError, match="must be a set of words, not 'memory'"):
        several.check("memory")


@pytest.mark.parametrize("value", [[], ["memory", "memory"]])
def test_several_choices_are_at_least_one_and_each_once(value):
    """No word at all, and a word twice, are refused."""
    with pytest.raises(ConfigError, match="one or more of memory, expiring, each once"):
        Choices(WORDS).check(value)


@given(st.integers(0, int(10 * DAY * 1000)))
@settings(deadline=None, max_examples=200)
def test_a_duration_is_read_as_it_is_shown(milliseconds):
    """What an error or a page shows of a duration can be written into a document."""
    assert TIME.read(duration_text(milliseconds / 1000)) == milliseconds / 1000


@given(st.integers(0, 2**40) | st.integers(0, 2**10).map(lambda number: number * 2**20))
@settings(deadline=None, max_examples=200)
def test_a_size_is_read_as_it_is_shown(size):
    """What an error or a page shows of a size can be written into a document."""
    assert SIZE.read(size_text(size)) == size
