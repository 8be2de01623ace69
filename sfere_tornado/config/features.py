"""The settings of what a hub does only when it is told to: presence and history."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  # the documentation resolves it
from dataclasses import dataclass
from typing import Any, Final

from .fields import DAY, KIB, MIB, by_category, check_categories, check_record, part, setting
from .values import Count, Duration, Size, Switch

__all__ = ("GraceConfig", "HistoryConfig", "KeepConfig", "PresenceConfig")

#: Waiting for somebody to come back: 0 announces at once; after a day nobody would call it waiting.
GRACE: Final = Duration(0.0, DAY)

#: Events kept of a category: 0 keeps none; a million are some hundred megabytes.
COUNT: Final = Count(0, 1_000_000)

#: How long they are kept: below, a reload may miss one; above, a fresh page serves better.
AGE: Final = Duration(1.0, 7 * DAY)

#: How many bytes of them: below, one event fills it; above, it belongs in a database.
BYTES: Final = Size(KIB, 1024 * MIB)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraceConfig:
    """How long a departure waits before it is announced, by its reason; None means the default, or the hub's own.

    Raises:
        ConfigError: when a value is not allowed.
    """

    #: Seconds after the member said so; 0 by default, like all that are not named below.
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
    """Who is here, and what the others are told.

    Raises:
        ConfigError: when a value is not allowed.
    """

    #: Whether newcomers are sent ``presence_state`` and the others ``presence_diff``; without it there are the callbacks.
    announce: bool = setting(True, Switch())
    #: How long departures wait.
    grace: GraceConfig = part(GraceConfig)
    #: What is different for the keys of a category.
    categories: Mapping[Any, GraceConfig] = by_category(GraceConfig)

    def __post_init__(self) -> None:
        check_record(self, "presence")
        check_categories(self, "presence", GraceConfig)


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

    #: Events, 1,000: some minutes of a busy chat; 0 keeps none, but where a category says so.
    count: int = setting(1000, COUNT)
    #: Seconds, 300: longer than a tunnel, a lift, a restart of the server.
    age: float = setting(300.0, AGE)
    #: Bytes on the wire, 1 MiB: a full outbox, more than which nobody is sent at once.
    bytes: int = setting(MIB, BYTES)
    #: What is different for a category.
    categories: Mapping[Any, KeepConfig] = by_category(KeepConfig)

    def __post_init__(self) -> None:
        check_record(self, "history")
        check_categories(self, "history", KeepConfig)
