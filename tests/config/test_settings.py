"""The settings themselves: defaults, bounds, and what does not fit together."""

import dataclasses

import pytest

from sfere_tornado.config import CategoryRules, HubConfig, LimitsConfig, StoreConfig, StreamConfig
from sfere_tornado.errors import ConfigError

PATHS = {StoreConfig: "store", StreamConfig: "stream", LimitsConfig: "limits"}

#: For each setting with bounds: the lowest and highest value, and one beyond each.
BOUNDS = {
    (StoreConfig, "ttl"): (0.1, 31_536_000.0, 0.099, 31_536_001.0),
    (StoreConfig, "maxsize"): (1, 10_000_000, 0, 10_000_001),
    (StreamConfig, "max_event_size"): (1024, 1048576, 1023, 67108865),
    (StreamConfig, "max_unread"): (64, 16777216, 63, 16777217),
    (StreamConfig, "stall"): (1.0, 3600.0, 0.9, 3601.0),
    (StreamConfig, "fan_out_slice"): (10, 100_000, 9, 100_001),
    (StreamConfig, "heartbeat"): (1.0, 3600.0, 0.9, 3601.0),
    (StreamConfig, "retry"): (0.1, 86400.0, 0.09, 86401.0),
    (StreamConfig, "max_age"): (1.0, 31_536_000.0, 0.9, 31_536_001.0),
    (LimitsConfig, "total"): (1, 10_000_000, 0, 10_000_001),
    (LimitsConfig, "per_scope"): (1, 10_000_000, 0, 10_000_001),
    (LimitsConfig, "per_key"): (1, 10_000_000, 0, 10_000_001),
    (LimitsConfig, "per_address"): (1, 10_000_000, 0, 10_000_001),
    (StreamConfig, "revalidate_timeout"): (0.1, 60.0, 0.09, 60.1),
    (StreamConfig, "linger"): (0.0, 60.0, -0.1, 60.1),
    (StreamConfig, "user_timeout"): (1.0, 3600.0, 0.9, 3601.0),
    (StreamConfig, "keepalive_idle"): (1.0, 3600.0, 0.9, 3601.0),
    (StreamConfig, "keepalive_interval"): (1.0, 3600.0, 0.9, 3601.0),
    (StreamConfig, "keepalive_count"): (1, 127, 0, 128),
    (StreamConfig, "notsent_lowat"): (1024, 16777216, 1023, 16777217),
}


def test_defaults_of_the_store():
    """The defaults of a store are those that the documentation tells."""
    assert dataclasses.asdict(StoreConfig()) == {
        "type": "expiring",
        "ttl": 600.0,
        "expiry": "sliding",
        "renewed_by": frozenset({"request", "ack"}),
        "same_key": "join",
        "maxsize": 10_000,
        "on_full": "refuse",
        "close_on_evict": True,
        "categories": {},
    }


def test_defaults_of_streams():
    """The defaults of event streams are those that the documentation tells."""
    assert dataclasses.asdict(StreamConfig()) == {
        "max_outbox": 1024 * 1024,
        "on_slow": "disconnect",
        "compress": frozenset(),
        "stall": 30.0,
        "fan_out_slice": 100,
        "max_event_size": 256 * 1024,
        "max_unread": 16 * 1024,
        "heartbeat": 15.0,
        "retry": 2.0,
        "max_age": None,
        "revalidate_timeout": 5.0,
        "linger": 5.0,
        "user_timeout": 20.0,
        "keepalive_idle": 15.0,
        "keepalive_interval": 5.0,
        "keepalive_count": 3,
        "notsent_lowat": 16 * 1024,
    }


def test_a_hub_has_all_defaults():
    """A hub's settings are usable without giving any."""
    assert HubConfig() == HubConfig(store=StoreConfig(), stream=StreamConfig())


@pytest.mark.parametrize(("record", "name"), BOUNDS)
def test_bounds(record, name):
    """Each setting has its bounds, and the error of what is beyond names it."""
    low, high, below, above = BOUNDS[record, name]
    assert getattr(record(**{name: low}), name) == low
    assert getattr(record(**{name: high}), name) == high
    for value in (below, above):
        with pytest.raises(ConfigError, match="must be from") as caught:
            record(**{name: value})
        assert caught.value.path == f"{PATHS[record]}.{name}"
        assert caught.value.line is None


def test_the_bounds_of_an_outbox():
    """An outbox has its bounds too, beside having room for an event."""
    assert StreamConfig(max_outbox=4096, max_event_size=1024).max_outbox == 4096
    assert StreamConfig(max_outbox=2**30).max_outbox == 2**30
    for value in (4095, 2**30 + 1):
        with pytest.raises(ConfigError, match="must be from 4KiB to 1GiB"):
            StreamConfig(max_outbox=value, max_event_size=1024)


def test_an_outbox_has_room_for_an_event():
    """An event that is larger than the outbox would cut every busy client, so the two must fit."""
    with pytest.raises(ConfigError, match="raise max_outbox") as caught:
        StreamConfig(max_outbox=4096)
    assert caught.value.path == "stream.max_outbox"


def test_records_are_frozen():
    """A record that has been checked cannot be changed."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        StoreConfig().ttl = -1


def test_categories_are_a_copy():
    """What a caller does to its own dict later does not reach the record."""
    categories = {"lobby": CategoryRules(ttl=30)}
    store = StoreConfig(categories=categories)
    categories["lobby"] = "broken"
    assert store.categories == {"lobby": CategoryRules(ttl=30.0)}


def test_none_is_only_for_categories():
    """A category may leave a setting to its store; a store has nobody to leave it to."""
    assert CategoryRules(ttl=None, expiry=None, same_key=None) == CategoryRules()
    with pytest.raises(ConfigError, match="not None") as caught:
        StoreConfig(ttl=None)
    assert caught.value.path == "store.ttl"


@pytest.mark.parametrize(
    ("make", "path", "suggestion"),
    [
        (lambda: StoreConfig(ttl="30s"), "store.ttl", None),
        (lambda: StoreConfig(type="memry"), "store.type", "memory"),
        (lambda: StoreConfig(renewed_by={"requests"}), "store.renewed_by", "request"),
        (lambda: StoreConfig(close_on_evict="true"), "store.close_on_evict", None),
        (lambda: StoreConfig(categories=["lobby"]), "store.categories", None),
        (lambda: StoreConfig(categories={"lobby": {"ttl": 3}}), "store.categories.lobby", None),
        (lambda: CategoryRules(expiry="slidng"), "category.expiry", "sliding"),
        (lambda: HubConfig(store={}), "store", None),
        (lambda: HubConfig(stream=StoreConfig()), "stream", None),
    ],
)
def test_wrong_values_name_their_setting(make, path, suggestion):
    """A wrong value is an error with the setting's path, and the nearest right word where there is one."""
    with pytest.raises(ConfigError) as caught:
        make()
    assert (caught.value.path, caught.value.suggestion, caught.value.source) == (
        path,
        suggestion,
        None,
    )


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"ttl": 30.0}, "store.ttl"),
        ({"expiry": "fixed"}, "store.expiry"),
        ({"renewed_by": {"ack"}}, "store.renewed_by"),
        ({"categories": {"lobby": CategoryRules(ttl=1)}}, "store.categories.lobby.ttl"),
        (
            {"categories": {"lobby": CategoryRules(expiry="fixed")}},
            "store.categories.lobby.expiry",
        ),
    ],
)
def test_a_memory_store_has_no_leases(given, path):
    """What only means something for leases is refused for a store that never ends one."""
    with pytest.raises(ConfigError, match="means nothing with type memory") as caught:
        StoreConfig(type="memory", **given)
    assert caught.value.path == path


def test_a_memory_store_has_everything_else():
    """All other settings, also those of categories, mean something for a memory store."""
    store = StoreConfig(
        type="memory",
        same_key="replace",
        maxsize=5,
        categories={"lobby": CategoryRules(same_key="join")},
    )
    assert store.categories["lobby"].same_key == "join"


def test_what_renews_means_nothing_when_nothing_is_renewed():
    """With fixed leases everywhere renewed_by is refused; one sliding category gives it a meaning."""
    with pytest.raises(ConfigError, match="means nothing with expiry fixed"):
        StoreConfig(expiry="fixed", renewed_by=["ack"])
    lobby = {"lobby": CategoryRules(expiry="sliding")}
    assert StoreConfig(
        expiry="fixed", renewed_by=["ack"], categories=lobby
    ).renewed_by == frozenset({"ack"})
    assert StoreConfig(expiry="fixed").renewed_by == frozenset({"request", "ack"})
