"""Fields of records of settings, which know what they may be, and the checks of a whole record."""

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
    "check_by_category",
    "check_record",
    "check_sections",
    "section",
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


def section(record: type, *, optional: bool = False) -> Any:
    """Return the field of a record inside a record; an optional one is None when it is left out."""
    metadata = {"section": record, "optional": optional}
    return (
        field(default=None, metadata=metadata)
        if optional
        else field(default_factory=record, metadata=metadata)
    )


def check_record(record: Any, path: str) -> None:
    """Check each single setting of a record, and store it as the type that the record keeps.

    Args:
        record: the record, which may be frozen.
        path: where it stands in a document, such as ``store``; for errors.

    Raises:
        ConfigError: for the first value that is not allowed.
    """
    for each in fields(record):
        value = getattr(record, each.name)
        if "value" not in each.metadata or (value is None and each.default is None):
            continue
        try:
            object.__setattr__(record, each.name, each.metadata["value"].check(value))
        except ConfigError as error:
            raise ConfigError(
                error.problem, path=f"{path}.{each.name}", suggestion=error.suggestion
            ) from None


def check_by_category(record: Any, path: str, kind: type) -> None:
    """Check the rules by category of a record.

    Args:
        record: the record, which may be frozen.
        path: where it stands in a document; for errors.
        kind: the class of the rules.

    Raises:
        ConfigError: when the rules are not a mapping to records of that class.
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
    # A copy: later changes of the caller's dict must not reach a record that has been checked.
    object.__setattr__(record, "categories", dict(categories))


def check_sections(record: Any) -> None:
    """Check that each section of a record is a record of its kind.

    Raises:
        ConfigError: for the first one that is not.
    """
    for each in fields(record):
        kind, value = each.metadata["section"], getattr(record, each.name)
        if not isinstance(value, kind) and not (value is None and each.metadata["optional"]):
            raise ConfigError(f"must be a {kind.__name__}, not {value!r}", path=each.name)
