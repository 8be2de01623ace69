"""Keys name connections, patterns name many keys."""

import copy
import pickle
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfere_tornado.errors import KeyShapeError
from sfere_tornado.keys import (
    ANY,
    DEFAULT_SCOPE,
    Audience,
    Key,
    Pattern,
    as_audience,
    as_exclusion,
    as_key,
    as_pattern,
    format_pattern,
    matches,
    parse_pattern,
)

KEY = ("default", ("lobby", "ann"))
#: Strings that mean something elsewhere: wildcards, separators, escapes.
STRANGE = ["*", "ANY", ">", "a/b", "", ":*", "%2A", "..", "\u2028", "\U0001f40d", "\ud800", "\0"]


def test_a_key_is_the_plain_tuple():
    """A key is equal to, hashes like and is made from plain tuples, and gives its parts names."""
    key = as_key(KEY)
    assert key == KEY
    assert hash(key) == hash(KEY)
    assert (key.scope, key.category, key.id) == (DEFAULT_SCOPE, "lobby", "ann")
    assert as_key(["default", ["lobby", "ann"]]) == KEY
    assert as_key(key) == key
    assert isinstance(key, Key)


@pytest.mark.parametrize("part", ["x", "", "*", 7, uuid.UUID(int=1), ("a", 1), frozenset({1})])
def test_parts_are_any_hashable_values(part):
    """Any hashable value can be a part of a key."""
    key = as_key((part, (part, part)))
    assert (key.scope, key.category, key.id) == (part, part, part)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "default",
        (),
        ("default",),
        ("default", "lobby"),
        ("a", "b", "c"),
        ("a", ("b",)),
        ("a", ("b", "c", "d")),
        {},
        7,
    ],
)
@pytest.mark.parametrize("make", [as_key, as_pattern])
def test_another_shape_is_refused(make, value):
    """What is not (scope, (category, id)) is an error that shows the value."""
    with pytest.raises(KeyShapeError, match="shape") as caught:
        make(value)
    assert caught.value.value == value


def test_a_string_of_two_letters_is_no_pair():
    """A string is no tuple of its letters."""
    with pytest.raises(KeyShapeError):
        as_key(("default", "ab"))


@pytest.mark.parametrize("place", ["scope", "category", "id"])
def test_a_key_is_complete(place):
    """Stops a forgotten value from becoming an address that many share: None and ANY are refused in every part."""
    parts = {"scope": "default", "category": "lobby", "id": "ann"}
    for value in (None, ANY):
        scope, category, item_id = (parts | {place: value}).values()
        with pytest.raises(KeyShapeError, match=f"the {place} of a key"):
            as_key((scope, (category, item_id)))


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("make", [as_key, as_pattern])
def test_parts_must_be_hashable(make, place):
    """A part that cannot be looked up, such as a list, is refused with the name of the part."""
    parts = ["default", "lobby", "ann"]
    parts[place] = []
    with pytest.raises(KeyShapeError, match="must be hashable"):
        make((parts[0], (parts[1], parts[2])))


def test_a_pattern_has_no_part_without_a_value():
    """None is no wildcard: a forgotten value must not reach everybody."""
    with pytest.raises(KeyShapeError, match="must not be None"):
        as_pattern((None, (ANY, ANY)))


def test_any_for_the_whole_inner_part():
    """(ANY, ANY) is short for (ANY, (ANY, ANY)), and so for any scope."""
    assert as_pattern((ANY, ANY)) == (ANY, (ANY, ANY))
    assert as_pattern(["default", ANY]) == ("default", (ANY, ANY))
    pattern = as_pattern((ANY, ("lobby", ANY)))
    assert isinstance(pattern, Pattern)
    assert (pattern.scope, pattern.category, pattern.id) == (ANY, "lobby", ANY)


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [
        ((ANY, ANY), True),
        ((ANY, (ANY, ANY)), True),
        (("default", ANY), True),
        ((ANY, ("lobby", ANY)), True),
        ((ANY, (ANY, "ann")), True),
        (("default", ("lobby", "ann")), True),
        (("other", ANY), False),
        ((ANY, ("chess", ANY)), False),
        ((ANY, (ANY, "ben")), False),
        (("default", ("lobby", "ben")), False),
    ],
)
def test_matching(pattern, matching):
    """A pattern names a key when each part is ANY or equal."""
    assert matches(pattern, KEY) is matching


@pytest.mark.parametrize("text", STRANGE)
def test_no_string_is_a_wildcard(text):
    """Stops a client who calls himself * from getting everybody's messages: he matches himself and nobody else."""
    assert not matches(("default", ("lobby", text)), KEY)
    assert not matches((text, (text, text)), KEY)
    assert matches(("default", ("lobby", text)), ("default", ("lobby", text)))


def test_matching_refuses_other_shapes():
    """Neither a wrong pattern nor a pattern in a key's place is taken."""
    with pytest.raises(KeyShapeError):
        matches("lobby", KEY)
    with pytest.raises(KeyShapeError):
        matches((ANY, ANY), (ANY, ("lobby", "ann")))


def test_any_stays_one_object():
    """ANY is the same object after a copy, a deep copy and pickling, and shows itself by its name."""
    assert copy.copy(ANY) is ANY
    assert copy.deepcopy(as_pattern((ANY, ANY))).scope is ANY
    assert pickle.loads(pickle.dumps(as_pattern((ANY, ("lobby", ANY))))).id is ANY
    assert repr(ANY) == "ANY"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (KEY, "default/lobby/ann"),
        ((ANY, ("lobby", ANY)), "*/lobby/*"),
        ((ANY, ANY), "*/*/*"),
        (("a/b", ("*", "%")), "a%2Fb/%2A/%25"),
        (("s", ("", 7)), "s//7"),
    ],
)
def test_text_form(value, text):
    """The text form is three percent-encoded parts, with a star for ANY; keys and patterns print as it."""
    assert format_pattern(value) == text
    assert str(as_pattern(value)) == text
    assert parse_pattern(text) == (as_pattern(value) if text != "s//7" else ("s", ("", "7")))


def test_a_key_prints_as_its_text_form():
    """A key in a log line is its text form."""
    assert f"{as_key(KEY)}" == "default/lobby/ann"


def test_two_parts_in_text_form():
    """scope/* names everything of a scope."""
    assert parse_pattern("default/*") == ("default", (ANY, ANY))
    assert parse_pattern("*/*") == (ANY, (ANY, ANY))


@pytest.mark.parametrize("text", ["", "default", "default/lobby", "a/b/c/d", "*"])
def test_no_text_form(text):
    """Any other number of parts is refused."""
    with pytest.raises(KeyShapeError, match="text form"):
        parse_pattern(text)


def test_text_that_is_not_utf8():
    """A part whose percent-encoding is not UTF-8 is refused as every wrong pattern is."""
    with pytest.raises(KeyShapeError):
        parse_pattern("default/lobby/%FF")


@pytest.mark.parametrize("part", STRANGE)
def test_every_key_can_be_printed(part):
    """Stops a name that a client chose, such as half of a surrogate pair from JSON, from breaking log lines."""
    key = as_key((part, (part, part)))
    assert isinstance(str(key), str)
    str(key).encode()


@given(
    st.lists(
        st.sampled_from([ANY, *STRANGE[:-2]]) | st.text(st.characters(codec="utf-8")),
        min_size=3,
        max_size=3,
    )
)
@settings(deadline=None, max_examples=300)
def test_the_text_form_is_one_to_one(parts):
    """What is written as text is read back as the same pattern, whatever its strings are."""
    pattern = (parts[0], (parts[1], parts[2]))
    assert parse_pattern(format_pattern(pattern)) == pattern


BRIAN = ("default", ("lobby", "brian"))


@pytest.mark.parametrize(
    ("exclude", "expected"),
    [
        ((), frozenset()),
        ([], frozenset()),
        ({KEY}, frozenset({KEY})),
        ([KEY, BRIAN], frozenset({KEY, BRIAN})),
        ((KEY, BRIAN), frozenset({KEY, BRIAN})),
        (frozenset({KEY}), frozenset({KEY})),
        (KEY, as_pattern(KEY)),
        (as_key(KEY), as_pattern(KEY)),
        ((ANY, ("lobby", ANY)), as_pattern((ANY, ("lobby", ANY)))),
        (("default", ANY), as_pattern(("default", ANY))),
        (as_pattern((ANY, ANY)), as_pattern((ANY, ANY))),
    ],
)
def test_an_exclusion_is_one_pattern_or_a_set_of_keys(exclude, expected):
    """Two elements of which the first is not a tuple are a pattern; all else is a set of keys."""
    given_back = as_exclusion(exclude)
    assert given_back == expected
    assert type(given_back) is type(expected)
    if isinstance(given_back, frozenset):
        assert all(type(key) is Key for key in given_back)


@pytest.mark.parametrize(
    "wrong", ["default/lobby/ann", 7, None, {KEY: 1}, {"ann"}, [(ANY, ("lobby", ANY))], (1, 2)]
)
def test_another_kind_of_exclusion_is_an_error(wrong):
    """What is neither keys nor a pattern raises, because excluding nothing would be wrong."""
    with pytest.raises(KeyShapeError):
        as_exclusion(wrong)


@pytest.mark.parametrize(
    ("pattern", "exclude", "included"),
    [
        ((ANY, ("lobby", ANY)), (), True),
        ((ANY, ANY), frozenset(), True),
        (KEY, [], True),
        ((ANY, ("shop", ANY)), (), False),
        ((ANY, ("lobby", ANY)), {KEY}, False),
        ((ANY, ("lobby", ANY)), [as_key(BRIAN)], True),
        ((ANY, ANY), ("default", ANY), False),
        ((ANY, ANY), as_pattern(("other", ANY)), True),
    ],
)
def test_an_audience_is_a_pattern_without_what_is_excluded(pattern, exclude, included):
    """Its parts are checked when it is made, equal ones are equal, and it can be a key of a dict."""
    audience = as_audience(pattern, exclude)
    assert audience.includes(as_key(KEY)) is included
    assert (type(audience), type(audience.pattern)) == (Audience, Pattern)
    assert {audience: 1} == {as_audience(as_pattern(pattern), exclude): 1}


@pytest.mark.parametrize(
    ("pattern", "exclude"), [("lobby", ()), ((ANY, ANY), "ann"), (KEY, {"ann"})]
)
def test_an_audience_of_another_shape_is_an_error(pattern, exclude):
    """A wrong pattern and a wrong exclusion raise before anything is sent."""
    with pytest.raises(KeyShapeError):
        as_audience(pattern, exclude)
