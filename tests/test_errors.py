"""Every exception: its parents, its attributes, its text."""

import inspect
import pickle
import re
from pathlib import Path

import pytest

from sfere_tornado import errors
from sfere_tornado.errors import (
    ConfigError,
    ConnectionClosedError,
    EffectShapeError,
    EventError,
    EventStreamError,
    EventTooLargeError,
    ExpansionDepthError,
    HubError,
    KeyShapeError,
    KeyTakenError,
    LimitReachedError,
    ListenError,
    MetaError,
    MissingDependencyError,
    NoConnectionError,
    NoEventLoopError,
    PresenceFullError,
    RegistryError,
    SfereError,
    StageAwaitError,
    StageResultError,
    StoreError,
    StoreFullError,
    UnknownEffectError,
    hint,
    nearest,
)

KEY = ("default", ("lobby", "ann"))

#: One of each: the exception, its parents, its attributes, its text.
ONE_OF_EACH = [
    (
        ConfigError("must be more", source="a.yaml", line=3, path="store.ttl", suggestion="30s"),
        (SfereError, ValueError),
        {
            "problem": "must be more",
            "source": "a.yaml",
            "line": 3,
            "path": "store.ttl",
            "suggestion": "30s",
        },
        "a.yaml, line 3, at store.ttl: must be more; did you mean '30s'?",
    ),
    (
        ConfigError("cannot be read"),
        (SfereError, ValueError),
        {
            "problem": "cannot be read",
            "source": None,
            "line": None,
            "path": None,
            "suggestion": None,
        },
        "configuration: cannot be read",
    ),
    (
        KeyShapeError("a key is a pair", 7),
        (SfereError, ValueError),
        {"problem": "a key is a pair", "value": 7},
        "a key is a pair: 7",
    ),
    (
        ListenError(98, "Address already in use", "127.0.0.1", 8000),
        (SfereError, OSError),
        {"errno": 98, "problem": "Address already in use", "address": "127.0.0.1", "port": 8000},
        "cannot listen on port 8000 of 127.0.0.1: Address already in use",
    ),
    (
        ListenError(None, "no such host", "", 0),
        (SfereError, OSError),
        {"errno": None, "problem": "no such host", "address": "", "port": 0},
        "cannot listen on port 0 of every address: no such host",
    ),
    (
        LimitReachedError("per_key", 100, "k"),
        (StoreError, RuntimeError),
        {"name": "per_key", "limit": 100, "key": "k"},
        "k already has 100 open streams (limits.per_key); raise the limit or close some",
    ),
    (
        LimitReachedError("total", 9, "10.0.0.1"),
        (StoreError, RuntimeError),
        {"name": "total", "limit": 9, "key": "10.0.0.1"},
        "this process already has 9 open streams (limits.total); raise the limit or close some",
    ),
    (
        PresenceFullError("k", 7),
        (SfereError, RuntimeError),
        {"max_members": 7, "key": "k"},
        (
            "presence already has 7 members with an open stream (max_members); raise "
            "store.maxsize or close some (key 'k')"
        ),
    ),
    (
        MetaError("must be text", "tab"),
        (SfereError, ValueError),
        {"problem": "must be text", "field": "tab"},
        "presence field 'tab': must be text",
    ),
    (
        EventError("must be ASCII", "id"),
        (SfereError, ValueError),
        {"problem": "must be ASCII", "field": "id"},
        "event field 'id': must be ASCII",
    ),
    (
        EventTooLargeError(9, 8),
        (EventError, ValueError),
        {"size": 9, "limit": 8, "field": "data"},
        (
            "event field 'data': has 9 bytes on the wire, 8 are allowed (stream.max_event_size); "
            "send a reference, or raise the limit"
        ),
    ),
    (
        EventStreamError("an unknown field", 12),
        (SfereError, ValueError),
        {"problem": "an unknown field", "line": 12},
        "event stream, line 12: an unknown field",
    ),
    (
        StoreError("too many keys", KEY),
        (SfereError, RuntimeError),
        {"problem": "too many keys", "key": KEY},
        "too many keys (key ('default', ('lobby', 'ann')))",
    ),
    (
        StoreFullError("k", 5),
        (StoreError,),
        {"key": "k", "maxsize": 5},
        (
            "the store already has 5 connections (store.maxsize); raise it, or set store.on_full "
            "to evict (key 'k')"
        ),
    ),
    (
        KeyTakenError("k"),
        (StoreError,),
        {"key": "k"},
        (
            "another open connection has the key (same_key: refuse); close it first, or set "
            "same_key to join or replace (key 'k')"
        ),
    ),
    (
        ConnectionClosedError("slow"),
        (SfereError, ConnectionError, OSError),
        {"reason": "slow"},
        "the connection is closed (reason: slow); check connection.closed before sending",
    ),
    (
        ConnectionClosedError(),
        (SfereError, ConnectionError),
        {"reason": None},
        "the connection is closed (reason: unknown); check connection.closed before sending",
    ),
    (HubError("not started"), (SfereError, RuntimeError), {}, "not started"),
    (RegistryError("no registry"), (SfereError, TypeError), {}, "no registry"),
    (
        UnknownEffectError("sned", "send"),
        (SfereError, LookupError),
        {"name": "sned", "suggestion": "send"},
        "unknown action or effect 'sned'; did you mean 'send'?",
    ),
    (
        UnknownEffectError(7),
        (SfereError, LookupError),
        {"name": 7, "suggestion": None},
        "unknown action or effect 7",
    ),
    (
        EffectShapeError("no effect", "send"),
        (SfereError, TypeError),
        {"problem": "no effect", "item": "send"},
        (
            "no effect: 'send'; make it with its constructor, such as send(...), or with "
            'effect("name", ...); a list is never an effect'
        ),
    ),
    (
        ExpansionDepthError(100),
        (SfereError, RecursionError),
        {"limit": 100},
        (
            "actions expanded into actions 100 times in a row without reaching effects; "
            "let none expand into itself"
        ),
    ),
    (
        StageAwaitError("before_effect", "audit", "closing"),
        (SfereError, TypeError),
        {"stage": "before_effect", "interceptor_id": "audit", "kind": "closing"},
        (
            "stage 'before_effect' of interceptor 'audit' returned an awaitable in a dispatch of "
            "kind 'closing'; only stages around a request or an opening may await, because "
            "elsewhere the order of the sends would depend on them; await in an effect"
        ),
    ),
    (
        StageResultError("before_effect", "audit", 7),
        (SfereError, TypeError),
        {"stage": "before_effect", "interceptor_id": "audit", "value": 7},
        "stage 'before_effect' of interceptor 'audit' returned int; return the context or None",
    ),
    (
        NoConnectionError("send"),
        (SfereError, LookupError),
        {"effect": "send"},
        (
            "the effect 'send' needs an open connection, and this dispatch has none; "
            "put the effect into broadcast(...) or with_connection(...), or return it from on_open"
        ),
    ),
    (NoEventLoopError("no loop runs"), (SfereError, RuntimeError), {}, "no loop runs"),
    (
        MissingDependencyError("hypothesis", "sample()", "pip install hypothesis"),
        (SfereError, ImportError),
        {"package": "hypothesis", "purpose": "sample()", "command": "pip install hypothesis"},
        "sample() needs the package 'hypothesis'; install it: pip install hypothesis",
    ),
]


def classes():
    return {
        name: value
        for name, value in vars(errors).items()
        if inspect.isclass(value)
        and issubclass(value, SfereError)
        and value.__module__ == errors.__name__
    }


@pytest.mark.parametrize(
    ("error", "parents", "attributes", "text"), ONE_OF_EACH, ids=lambda value: type(value).__name__
)
def test_each_exception(error, parents, attributes, text):
    """An exception has the parents that a caller expects, its facts, and a text."""
    assert isinstance(error, parents[0])
    for parent in parents:
        with pytest.raises(parent):
            raise error
    assert {name: getattr(error, name) for name in attributes} == attributes
    assert str(error) == text


def test_none_is_forgotten():
    """Every exception of the module is in the test above, except the root."""
    assert {type(error) for error, *_ in ONE_OF_EACH} == set(classes().values()) - {SfereError}


def test_everything_is_exported():
    """The public names are the exceptions, the search for the nearest word, and the hint."""
    assert set(errors.__all__) == {*classes(), "hint", "nearest", "with_suggestion"}


def test_the_tree_is_drawn_as_it_is():
    """The tree in the docstring has every exception, under its parent and builtin parent."""
    drawn = {}
    above = {}
    for line in errors.__doc__.splitlines():
        match = re.match(r"^([ │├└─]*)(\w+)(?: \((\w+)\))? ", line.ljust(len(line) + 1))
        if match and match[2] in classes():
            depth = len(match[1]) // 4
            above[depth] = match[2]
            drawn[match[2]] = (above.get(depth - 1), match[3])
    assert set(drawn) == set(classes())
    for name, (parent, builtin) in drawn.items():
        bases = [base.__name__ for base in classes()[name].__bases__]
        assert bases == [one for one in (parent, builtin) if one], name


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("brodcast", "broadcast"),
        ("SEND", "send"),
        ("sned", "send"),
        ("xyzzy", None),
        ("", None),
        (7, None),
        (None, None),
    ],
)
def test_the_nearest_word(word, found):
    """The nearest right word is found in any case; a word that resembles nothing has none."""
    assert nearest(word, ["send", "broadcast", "close_sse"]) == found


def test_the_nearest_word_as_it_is_written():
    """The right word is given in its own case, and the words may come from an iterator."""
    assert nearest("mib", iter(["KiB", "MiB"])) == "MiB"
    assert nearest("send", []) is None


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("sned", "did you mean 'send'?"),
        ("xyzzy", "there are send, broadcast"),
        (7, "there are send, broadcast"),
    ],
)
def test_the_hint(word, text):
    """A hint names the nearest right word, or all of them where none is near."""
    assert hint(word, iter(["send", "broadcast"])) == text
    assert hint(word, []) == "there are none"


@pytest.mark.parametrize("error", [item[0] for item in ONE_OF_EACH], ids=lambda e: type(e).__name__)
def test_a_copy_says_the_same(error):
    """An exception comes whole out of a pickle, as from another process."""
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), str(copied), vars(copied)) == (type(error), str(error), vars(error))


def test_a_full_presence_is_not_a_full_store():
    """Stops an inherited text from naming another cause: ``problem`` is what the text says."""
    error = PresenceFullError("k", 7)
    assert not isinstance(error, StoreError)
    assert error.problem == str(error)


def test_only_this_module_asks_did_you_mean():
    """The words of a suggestion stand in one place."""
    package = Path(errors.__file__).parent
    asking = [path.name for path in package.rglob("*.py") if "did you mean" in path.read_text()]
    assert asking == ["errors.py"]
