"""What the records of settings are made of: fields that know what they may be, and the checks of a whole record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields
from typing import TYPE_CHECKING, Any, Final

from ..errors import ConfigError

if TYPE_CHECKING:
    from .values import Value

__all__ = (
    "DAY",
    "HOUR",
    "KIB",
    "MIB",
    "by_category",
    "check_categories",
    "check_parts",
    "check_record",
    "part",
    "setting",
)

KIB: Final = 1024
MIB: Final = 1024 * KIB
HOUR: Final = 3600.0
DAY: Final = 24 * HOUR


def setting(default: Any, value: Value) -> Any:
    """Return the field of a single setting: its default, and what it may be."""
    return field(default=default, metadata={"value": value})


def by_category(record: type) -> Any:
    """Return the field of rules by category, of one kind of record."""
    return field(default_factory=dict, metadata={"by_category": record})


def part(record: type, *, optional: bool = False) -> Any:
    """Return the field of a record inside a record; an optional one is None when it is left out."""
    metadata = {"part": record, "optional": optional}
    return (
        field(default=None, metadata=metadata)
        if optional
        else field(default_factory=record, metadata=metadata)
    )


def check_record(record: Any, path: str) -> None:
    """Check every single setting of a record, and put it into the type that the record keeps.

    Raises:
        ConfigError: for the first one that is not allowed.
    """
    for one in fields(record):
        value = getattr(record, one.name)
        if "value" not in one.metadata or (value is None and one.default is None):
            continue
        try:
            object.__setattr__(record, one.name, one.metadata["value"].check(value))
        except ConfigError as error:
            raise ConfigError(
                error.problem, path=f"{path}.{one.name}", suggestion=error.suggestion
            ) from None


def check_categories(record: Any, path: str, kind: type) -> None:
    """Check the rules by category of a record.

    Raises:
        ConfigError: when they are no mapping to records of that kind.
    """
    categories = record.categories
    if not isinstance(categories, Mapping):
        raise ConfigError(
            f"must map categories to their rules, not {categories!r}", path=f"{path}.categories"
        )
    for name, rules in categories.items():
        if not isinstance(rules, kind):
            raise ConfigError(
                f"must be a {kind.__name__}, not {rules!r}", path=f"{path}.categories.{name}"
            )
    # A copy: what the caller does to its own dict later must not reach a record that has been checked.
    object.__setattr__(record, "categories", dict(categories))


def check_parts(record: Any) -> None:
    """Check that every part of a record is a record of its kind.

    Raises:
        ConfigError: for the first one that is not.
    """
    for one in fields(record):
        kind, given = one.metadata["part"], getattr(record, one.name)
        if not isinstance(given, kind) and not (given is None and one.metadata["optional"]):
            raise ConfigError(f"must be a {kind.__name__}, not {given!r}", path=one.name)
