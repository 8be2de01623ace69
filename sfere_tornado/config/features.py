"""The settings of presence and history, which a hub has only when they are configured."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  # the documentation resolves it
from dataclasses import dataclass
from typing import Any, Final

from ..defaults import GATHER, KEEP_AGE, KEEP_BYTES, KEEP_COUNT, LARGE
from .fields import DAY, KIB, MIB, by_category, check_by_category, check_record, section, setting
from .values import Count, Duration, Size, Switch

__all__ = ("GraceConfig", "HistoryConfig", "KeepConfig", "PresenceConfig")

#: Waiting for a client to come back: 0 does not wait; after a day the client is not coming back.
GRACE: Final = Duration(0.0, DAY)

#: Gathering changes: 0 sends each by itself; above, users see that the list is late.
GATHERING: Final = Duration(0.0, 5.0)

#: Members of a whole list: below, a list of names is not worth a second event; above, a state does
#: not fit into an outbox.
WHOLE: Final = Count(1, 10_000)

#: Events kept of a category: 0 keeps none; a million take some 100 MB.
COUNT: Final = Count(0, 1_000_000)

#: Seconds that an event is kept: below, a reload may miss it; above, a fresh page serves better.
AGE: Final = Duration(1.0, 7 * DAY)

#: Bytes kept of a category: below, one event fills it; above, use a database.
BYTES: Final = Size(KIB, 1024 * MIB)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraceConfig:
    """How long a departure waits before it is announced, by its reason, in seconds.

    None means the default; in the rules of a category it means the hub's own.

    Raises:
        ConfigError: when a value is not allowed.
    """

    #: Seconds after the member said that it leaves; 0 by default. A grace without a number has 0.
    leave: float | None = setting(None, GRACE)
    #: Seconds after the client closed; 5 by default, as for ``slow``, ``error`` and ``server``.
    client: float | None = setting(None, GRACE)
    #: Seconds after it was cut for being slow.
    slow: float | None = setting(None, GRACE)
    #: Seconds after an error on this side.
    error: float | None = setting(None, GRACE)
    #: Seconds after the application closed it, or its lifetime ended.
    server: float | None = setting(None, GRACE)
    #: Seconds after the kernel gave up on it.
    timeout: float | None = setting(None, GRACE)
    #: Seconds after its lease ended.
    expired: float | None = setting(None, GRACE)
    #: Seconds after another connection took its place.
    replaced: float | None = setting(None, GRACE)
    #: Seconds after its rights ended.
    revoked: float | None = setting(None, GRACE)
    #: Seconds for one whose tab was hidden; 600 by default.
    hidden: float | None = setting(None, GRACE)

    def __post_init__(self) -> None:
        check_record(self, "presence.grace")


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceConfig:
    """Which members are here, and what the others are sent.

    Raises:
        ConfigError: when a value is not allowed.
    """

    #: Whether newcomers are sent ``presence_state`` and the others ``presence_diff``; without it
    #: only the callbacks are called.
    announce: bool = setting(True, Switch())
    #: Seconds for which changes are gathered in a crowd, 0.1. While few clients are sent few
    #: changes, each change is sent in the same call.
    gather: float = setting(GATHER, GATHERING)
    #: Members of one scope and category up to which each client is sent the whole list and each
    #: change, 500. Beyond it clients are sent the count, and ask for pages.
    large: int = setting(LARGE, WHOLE)
    #: How long departures wait.
    grace: GraceConfig = section(GraceConfig)
    #: What is different for the keys of a category.
    categories: Mapping[Any, GraceConfig] = by_category(GraceConfig)

    def __post_init__(self) -> None:
        check_record(self, "presence")
        check_by_category(self, "presence", GraceConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepConfig:
    """How much is kept of the events of one category; None means the history's own.

    Raises:
        ConfigError: when a value is not allowed.
    """

    #: Events.
    count: int | None = setting(None, COUNT)
    #: Seconds.
    age: float | None = setting(None, AGE)
    #: Bytes on the wire.
    bytes: int | None = setting(None, BYTES)

    def __post_init__(self) -> None:
        check_record(self, "history.categories")


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryConfig:
    """How much is kept of past events, of each category.

    Raises:
        ConfigError: when a value is not allowed.
    """

    #: Events; 0 keeps none, except where a category has a number of its own.
    count: int = setting(KEEP_COUNT, COUNT)
    #: Seconds.
    age: float = setting(KEEP_AGE, AGE)
    #: Bytes on the wire.
    bytes: int = setting(KEEP_BYTES, BYTES)
    #: What is different for a category.
    categories: Mapping[Any, KeepConfig] = by_category(KeepConfig)

    def __post_init__(self) -> None:
        check_record(self, "history")
        check_by_category(self, "history", KeepConfig)
