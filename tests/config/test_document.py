"""A YAML document becomes settings, or an error that names the line."""

import re
import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sfere_tornado.config import (
    CategoryRules,
    GraceConfig,
    HistoryConfig,
    HubConfig,
    KeepConfig,
    LimitsConfig,
    PresenceConfig,
    StoreConfig,
    StreamConfig,
    load,
    parse,
)
from sfere_tornado.config.document import MAX_DEPTH, MAX_DOCUMENT
from sfere_tornado.errors import ConfigError

FULL = """\
# Every setting there is.
store:
  type: expiring
  ttl: 1m30s
  expiry: sliding
  renewed_by: [request]
  same_key: replace
  maxsize: 500
  on_full: evict
  close_on_evict: false
  categories:
    lobby:
      ttl: 30s
      expiry: fixed
      same_key: join
    "game of chess": {ttl: 2h}
stream:
  max_outbox: 2MiB
  on_slow: conflate
  compress: [lobby, prices]
  stall: 45s
  fan_out_slice: 150
  max_event_size: 64KB
  max_unread: 1024
  heartbeat: 10s
  retry: 500ms
  max_age: 1h
  revalidate_timeout: 2s
  linger: 0s
  user_timeout: 30s
  keepalive_idle: 20s
  keepalive_interval: 6s
  keepalive_count: 4
  notsent_lowat: 32KiB
limits:
  total: 5000
  per_scope: 1000
  per_key: 10
  per_address: 50
  answer: too_many
presence:
  announce: false
  gather: 200ms
  large: 200
  grace:
    leave: 1s
    client: 2s
    slow: 3s
    error: 4s
    server: 5s
    timeout: 6s
    expired: 7s
    replaced: 8s
    revoked: 9s
    hidden: 10m
  categories:
    lobby: {client: 3s}
history:
  count: 500
  age: 10m
  bytes: 2MiB
  categories:
    lobby: {count: 0, age: 1m, bytes: 64KiB}
"""

#: Names that the application chooses: any word is right.
FREE = {"lobby", "game of chess"}


def refused(text, **options):
    with pytest.raises(ConfigError) as caught:
        parse(text, **options)
    return caught.value


def test_a_full_document():
    """Every setting of a document arrives in its record, in seconds and bytes."""
    assert parse(FULL) == HubConfig(
        store=StoreConfig(
            type="expiring",
            ttl=90.0,
            expiry="sliding",
            renewed_by=frozenset({"request"}),
            same_key="replace",
            maxsize=500,
            on_full="evict",
            close_on_evict=False,
            categories={
                "lobby": CategoryRules(ttl=30.0, expiry="fixed", same_key="join"),
                "game of chess": CategoryRules(ttl=7200.0),
            },
        ),
        stream=StreamConfig(
            max_outbox=2 * 1024 * 1024,
            on_slow="conflate",
            compress=frozenset({"lobby", "prices"}),
            stall=45.0,
            fan_out_slice=150,
            max_event_size=64_000,
            max_unread=1024,
            heartbeat=10.0,
            retry=0.5,
            max_age=3600.0,
            revalidate_timeout=2.0,
            linger=0.0,
            user_timeout=30.0,
            keepalive_idle=20.0,
            keepalive_interval=6.0,
            keepalive_count=4,
            notsent_lowat=32 * 1024,
        ),
        limits=LimitsConfig(
            total=5000, per_scope=1000, per_key=10, per_address=50, answer="too_many"
        ),
        presence=PresenceConfig(
            announce=False,
            gather=0.2,
            large=200,
            grace=GraceConfig(
                leave=1.0,
                client=2.0,
                slow=3.0,
                error=4.0,
                server=5.0,
                timeout=6.0,
                expired=7.0,
                replaced=8.0,
                revoked=9.0,
                hidden=600.0,
            ),
            categories={"lobby": GraceConfig(client=3.0)},
        ),
        history=HistoryConfig(
            count=500,
            age=600.0,
            bytes=2 * 1024 * 1024,
            categories={"lobby": KeepConfig(count=0, age=60.0, bytes=64 * 1024)},
        ),
    )


def test_the_full_document_is_full():
    """The document of these tests has every setting of every record, so that none goes untested."""
    records = (HubConfig, StoreConfig, StreamConfig, LimitsConfig, CategoryRules)
    records += (PresenceConfig, GraceConfig, HistoryConfig, KeepConfig)
    names = {name for record in records for name in record.__dataclass_fields__}
    assert names <= set(re.findall(r"^ *(\w+):", FULL, re.MULTILINE))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "# nothing\n",
        "---\n",
        "{}",
        "\ufeff",
        "store:\nstream:\n",
        "store: {categories: }",
    ],
)
def test_what_is_left_out_has_its_default(text):
    """An empty document, and an empty section, mean the defaults."""
    assert parse(text) == HubConfig()


def test_an_empty_category_has_the_rules_of_its_store():
    """A category may be named without any rule."""
    assert parse("store: {categories: {lobby: }}").store.categories == {"lobby": CategoryRules()}


# -- misspelt names


def full_settings():
    """Every name in the full document: its line, its path, and the names that are right in its place."""
    path = []
    found = []
    for number, line in enumerate(FULL.splitlines(), 1):
        match = re.match(r'^( *)"?([\w ]+?)"?:', line)
        if match:
            path[len(match[1]) // 2 :] = [match[2]]
            found.append((number, ".".join(path), match[2]))
    siblings = {}
    for _, where, name in found:
        siblings.setdefault(where.rpartition(".")[0], set()).add(name)
    return [
        (number, where, name, siblings[where.rpartition(".")[0]])
        for number, where, name in found
        if name not in FREE
    ]


def misspellings(name):
    """Every way to get one letter of a name wrong: dropped, doubled, swapped with the next, or another one."""
    for at in range(len(name)):
        before, letter, after = name[:at], name[at], name[at + 1 :]
        yield before + after
        yield before + letter + letter + after
        if after:
            yield before + after[0] + letter + after[1:]
        for other in string.ascii_lowercase:
            yield before + other + after


@pytest.mark.parametrize(
    ("number", "path", "name", "siblings"), full_settings(), ids=lambda value: str(value)[:40]
)
def test_every_misspelt_name_is_refused_with_the_right_one(number, path, name, siblings):
    """A name with one wrong letter is refused, with its line, its path and the name that was meant."""
    lines = FULL.splitlines(keepends=True)
    # A misspelling that is another name known there would be right; it is left out.
    for wrong in set(misspellings(name)) - siblings:
        changed = [*lines[: number - 1], lines[number - 1].replace(name, wrong, 1)]
        error = refused("".join(changed), source="lobby.yaml")
        parent = path.rpartition(".")[0]
        assert (error.source, error.line) == ("lobby.yaml", number)
        assert error.path == (f"{parent}.{wrong}" if parent else wrong)
        assert error.suggestion == name, f"for {wrong!r}"
        assert f"unknown setting {wrong!r}" in str(error)


def test_a_name_that_resembles_nothing():
    """Where no name is near, the error tells those that are known."""
    error = refused("store:\n  xyzzy: 1\n")
    assert error.suggestion is None
    assert "there are type, ttl, expiry" in str(error)


# -- wrong values


@pytest.mark.parametrize(
    ("text", "line", "path", "problem", "suggestion"),
    [
        ("store:\n  ttl: 10:00", 2, "store.ttl", "'10:00' is not a valid duration", None),
        ("store:\n  ttl: 30", 2, "store.ttl", "'30' is not a valid duration", "30s"),
        ("store:\n\n  ttl: 0s", 3, "store.ttl", "must be from 100ms to 365d, not 0s", None),
        ("store:\n  ttl:\n", 2, "store.ttl", "has no value", None),
        ("store:\n  ttl: ''\n", 2, "store.ttl", "'' is not a valid duration", None),
        ("store:\n  ttl: [30s]\n", 2, "store.ttl", "must be one value", None),
        ("store:\n  ttl:\n    seconds: 30\n", 3, "store.ttl", "must be one value", None),
        (
            "store:\n  close_on_evict: on",
            2,
            "store.close_on_evict",
            "'on' is neither true nor false",
            "true",
        ),
        (
            "store:\n  close_on_evict: no",
            2,
            "store.close_on_evict",
            "'no' is neither true nor false",
            "false",
        ),
        (
            "store:\n  type: null",
            2,
            "store.type",
            "must be one of memory, expiring, not 'null'",
            None,
        ),
        ("store:\n  type: Memory", 2, "store.type", "not 'Memory'", "memory"),
        ("store:\n  maxsize: 10_000", 2, "store.maxsize", "not a valid whole number", None),
        ("store:\n  renewed_by: ack", 2, "store.renewed_by", "must be a list", "[ack]"),
        ("store:\n  renewed_by: []", 2, "store.renewed_by", "one or more of request, ack", None),
        (
            "store:\n  renewed_by:\n    - ack\n    - reqest",
            4,
            "store.renewed_by",
            "must be one of",
            "request",
        ),
        (
            "store:\n  renewed_by:\n    - ack\n    - [ack]",
            4,
            "store.renewed_by",
            "must be one value",
            None,
        ),
        ("store:\n  renewed_by: {ack: true}", 2, "store.renewed_by", "must be one value", None),
        ("store:\n  categories: [lobby]", 2, "store.categories", "must be settings", None),
        (
            "store:\n  categories:\n    lobby: 30s",
            3,
            "store.categories.lobby",
            "must be settings",
            None,
        ),
        (
            "store:\n  categories:\n    lobby:\n      ttl: 1x",
            4,
            "store.categories.lobby.ttl",
            "is not a valid duration",
            None,
        ),
        (
            "store:\n  categories:\n    lobby:\n      maxsize: 1",
            4,
            "store.categories.lobby.maxsize",
            "unknown",
            None,
        ),
        ("stream:\n  max_outbox: 16kib", 2, "stream.max_outbox", "is not a valid size", "16KiB"),
        ("stream:\n  heartbeat: 10ms", 2, "stream.heartbeat", "must be from 1s to 1h", None),
        ("# note\nstream:\n  max_outbox: 8KiB", 3, "stream.max_outbox", "raise max_outbox", None),
        ("stream:\n  max_event_size: 2MiB", 2, "stream.max_event_size", "raise max_outbox", None),
        ("stream: 15s", 1, "stream", "must be settings", None),
        ("store: ~", 1, "store", "must be settings", None),
        ("- store", 1, None, "must be settings", None),
        ("just text", 1, None, "must be settings", None),
        ("[a, b]: 1", 1, None, "a name must be one word", None),
        ("'': 1", 1, None, "a name must be one word", None),
        (
            "store:\n  type: memory\n  ttl: 600s",
            3,
            "store.ttl",
            "means nothing with type memory",
            None,
        ),
        (
            "store:\n  ttl: 600s\n  type: memory",
            2,
            "store.ttl",
            "means nothing with type memory",
            None,
        ),
        (
            "store:\n  type: memory\n  categories:\n    lobby:\n      ttl: 3s",
            5,
            "store.categories.lobby.ttl",
            "means nothing with type memory",
            None,
        ),
        (
            "store:\n  expiry: fixed\n  renewed_by: [request, ack]",
            3,
            "store.renewed_by",
            "means nothing with expiry",
            None,
        ),
    ],
)
def test_wrong_values(text, line, path, problem, suggestion):
    """A wrong value is told with its line, its path, the problem and what was probably meant."""
    error = refused(text)
    assert problem in str(error)
    assert (error.source, error.line, error.path, error.suggestion) == (
        "<string>",
        line,
        path,
        suggestion,
    )


def test_the_first_error_is_told():
    """Of several errors the one that comes first in the document is told."""
    assert refused("store:\n  ttl: x\n  tl: 3s\nstor: 1\n").line == 2
    assert refused("store:\n  tl: 3s\n  ttl: x\n").line == 2


def test_quotes_change_nothing():
    """A value in quotes is the same text."""
    assert parse("store: {'ttl': \"30s\", close_on_evict: 'true'}").store.ttl == 30.0


# -- what YAML can do beyond settings


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("store: &s\n  ttl: 3s", 1, "anchors"),
        ("store:\n  ttl: *s", 2, "anchors"),
        ("store:\n  type: !!str memory", 2, "tags"),
        ("store: !!python/object/apply:os.system ['exit 1']", 1, "tags"),
        ("store: !local {}", 1, "tags"),
        ("store:\n  <<: {ttl: 3s}", 2, "merge keys"),
        ("store:\n  ttl: 3s\n  ttl: 4s", 3, "is set twice, first in line 2"),
        ("store: {}\nstore: {}", 2, "is set twice"),
        ("store: {categories: {a: {},\n a: {}}}", 2, "is set twice"),
        ("store: {}\n---\nstream: {}", 2, "a second document"),
        ("store:\n\tttl: 3s", 2, "is not valid YAML: found character '\\t'"),
        ("store: {", 1, "is not valid YAML"),
        ("store:\n  ttl: \x01", 2, "is not valid YAML: special characters"),
        ("store:\n  ttl: \ud800", 2, "is not valid YAML: special characters"),
        ('store:\n  ttl: "\\U99999999"', 2, "is not valid YAML"),
        ("%YAML 2.0\n---\n", 1, "is not valid YAML"),
        (f"%YAML {'9' * 5000}.1\n---\n", 1, "is not valid YAML"),
    ],
)
def test_what_yaml_allows_and_settings_do_not(text, line, problem):
    """Stops documents that mean something else than they seem to, or that are no documents, with the line at fault."""
    error = refused(text)
    assert problem in str(error)
    assert error.line == line


def test_the_error_of_the_yaml_library_is_kept():
    """An error of the YAML library is translated, and stays reachable as the cause."""
    assert type(refused("store: {").__cause__).__name__ == "ParserError"


def test_a_quoted_merge_key_is_a_name():
    """Only the bare << is a merge key; in quotes it is a name like any other."""
    assert "unknown setting '<<'" in str(refused("store:\n  '<<': 3s"))
    assert parse("store: {categories: {'<<': {}}}").store.categories == {"<<": CategoryRules()}


def test_a_bomb_of_aliases_does_not_go_off():
    """Stops a document of some lines that expands to hundreds of millions of values."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    assert "anchors" in str(refused("\n".join(lines)))


@pytest.mark.parametrize(
    "text", ["[" * 900, "{a: " * 900, "[" * 900 + "]" * 900, "- " * 900, "? " * 900]
)
def test_nesting_is_bounded(text):
    """Stops a document whose nesting would end in a RecursionError."""
    assert f"nested more than {MAX_DEPTH} levels" in str(refused(text))


def test_a_document_is_bounded():
    """Stops a document that would take minutes to read."""
    assert "larger than" in str(refused("#" * (MAX_DOCUMENT + 1)))
    assert parse("#" * MAX_DOCUMENT) == HubConfig()


@given(
    st.text(st.sampled_from("stored:{}[]&*!|>%@`'\"#,-?\n\t \\U9<~\u0085\ud800"), max_size=40)
    | st.text(max_size=40)
)
@settings(deadline=None, max_examples=400)
@example("store: '")
@example("%TAG ! !\n---\n")
@example("store: |9\n x")
def test_any_text_is_settings_or_a_config_error(text):
    """Whatever the text, it becomes settings or a ConfigError, and never another error."""
    try:
        assert isinstance(parse(text), HubConfig)
    except ConfigError as error:
        assert error.source == "<string>"  # noqa: PT017  # both outcomes are right


# -- files


def test_a_file(tmp_path):
    """A file is read as UTF-8, and its path is the source of its errors."""
    path = tmp_path / "lobby.yaml"
    path.write_text("# \u00e9\n" + FULL, encoding="utf-8")
    assert load(path) == load(str(path)) == parse(FULL)
    path.write_text("store:\n  tl: 30s\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert (
        str(caught.value)
        == f"{path}, line 2, at store.tl: unknown setting 'tl'; did you mean 'ttl'?"
    )


def test_a_file_that_is_not_utf8(tmp_path):
    """A file in another encoding is an error with the line, and is not read as something else."""
    path = tmp_path / "lobby.yaml"
    path.write_bytes(b"store:\n  type: caf\xe9\n")
    with pytest.raises(ConfigError, match="is not UTF-8") as caught:
        load(path)
    assert (caught.value.source, caught.value.line) == (str(path), 2)


@pytest.mark.parametrize("name", ["missing.yaml", ".", "a\0b"])
def test_a_file_that_cannot_be_read(tmp_path, name):
    """A file that is missing, or is no file, is a ConfigError with the system's error as the cause."""
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        load(tmp_path / name)
    assert isinstance(caught.value.__cause__, (OSError, ValueError))


def test_a_large_file_is_not_read(tmp_path):
    """Stops a file that is no settings from being read as a whole, also when the limit cuts a character in two."""
    path = tmp_path / "large.yaml"
    path.write_bytes(b"#" * MAX_DOCUMENT + "\u20ac".encode())
    with pytest.raises(ConfigError, match="larger than"):
        load(path)


def test_an_empty_file(tmp_path):
    """An empty file means the defaults."""
    path = tmp_path / "empty.yaml"
    path.touch()
    assert load(path) == HubConfig()
