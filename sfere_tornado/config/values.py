"""What one setting may be, and how it is written in a document: durations, sizes, counts, words.

Each kind has ``read``, for the text of a document, and ``check``, for a value from Python; ``read``
ends in ``check``. Both raise a :class:`~sfere_tornado.errors.ConfigError` that says what is wrong;
the caller adds the place.

Law: **text means what this module says, and nothing else.** YAML 1.1 would read ``10:00`` as 600
and ``on`` as true. Here a document is read as text; a missing unit, or another word for true, is
an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..errors import ConfigError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = (
    "Choice",
    "Choices",
    "Count",
    "Duration",
    "Size",
    "Switch",
    "Value",
    "duration_text",
    "size_text",
)

#: Milliseconds in each unit of a duration, in the order in which a duration is written.
_MILLISECONDS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}

#: Bytes in each unit of a size.
_BYTES: Final = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}

# At most 9 and 15 digits: more is a slip, and very long numbers are slow to read.
_DURATION: Final = re.compile("".join(rf"(?:([0-9]{{1,9}}){unit})?" for unit in _MILLISECONDS))
_SIZE: Final = re.compile(f"([0-9]{{1,15}})({'|'.join(_BYTES)})?")
_COUNT: Final = re.compile("[0-9]{1,15}")

#: Words that YAML 1.1 or other formats read as true and false.
_SWITCHES: Final = {
    "true": "true",
    "on": "true",
    "yes": "true",
    "y": "true",
    "1": "true",
} | dict.fromkeys(("false", "off", "no", "n", "0"), "false")


class Value(Protocol):
    """**Protocol:** one kind of value."""

    def read(self, text: str) -> Any:
        """Return the value that a document's text means.

        Raises:
            ConfigError: when the text means no value, or one that is not allowed here.
        """

    def check(self, value: Any) -> Any:
        """Return a value from Python, as the type that the record keeps.

        Raises:
            ConfigError: when it is not allowed here.
        """


@dataclass(frozen=True, slots=True)
class Duration:
    """A time from ``low`` to ``high`` seconds, a float; written ``30s``, ``1m30s``, ``500ms``."""

    low: float
    high: float

    def read(self, text: str) -> float:
        """Return the seconds; see :meth:`Value.read`."""
        match = _DURATION.fullmatch(text)
        if match is None or not text:
            raise ConfigError(
                f"{text!r} is not a valid duration; write numbers with their units, longest first, "
                "such as 30s, 1m30s or 500ms",
                suggestion=_nearest_duration(text),
            )
        parts = zip(match.groups(), _MILLISECONDS.values(), strict=True)
        return self.check(
            sum(int(number) * milliseconds for number, milliseconds in parts if number) / 1000
        )

    def check(self, value: Any) -> float:
        """Return the seconds; see :meth:`Value.check`."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(f"must be a number of seconds, not {value!r}")
        _check_range(value, self.low, self.high, duration_text)
        return float(value)


@dataclass(frozen=True, slots=True)
class Size:
    """A number of bytes from ``low`` to ``high``; written ``16KiB``, ``64KB`` or as a number."""

    low: int
    high: int

    def read(self, text: str) -> int:
        """Return the bytes; see :meth:`Value.read`."""
        match = _SIZE.fullmatch(text)
        if match is None:
            raise ConfigError(
                f"{text!r} is not a valid size; write a number of bytes, or one with its unit, "
                "such as 16KiB or 1MiB",
                suggestion=_nearest_size(text),
            )
        return self.check(int(match[1]) * _BYTES[match[2] or "B"])

    def check(self, value: Any) -> int:
        """Return the bytes; see :meth:`Value.check`."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigError(f"must be a number of bytes, an int, not {value!r}")
        _check_range(value, self.low, self.high, size_text)
        return value


@dataclass(frozen=True, slots=True)
class Count:
    """A whole number from ``low`` to ``high``."""

    low: int
    high: int

    def read(self, text: str) -> int:
        """Return the number; see :meth:`Value.read`."""
        if _COUNT.fullmatch(text) is None:
            raise ConfigError(f"{text!r} is not a valid whole number; write digits only")
        return self.check(int(text))

    def check(self, value: Any) -> int:
        """Return the number; see :meth:`Value.check`."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigError(f"must be a whole number, not {value!r}")
        _check_range(value, self.low, self.high, str)
        return value


@dataclass(frozen=True, slots=True)
class Switch:
    """``true`` or ``false``, in these letters."""

    def read(self, text: str) -> bool:
        """Return the truth value; see :meth:`Value.read`."""
        if text not in ("true", "false"):
            raise ConfigError(
                f"{text!r} is neither true nor false", suggestion=_SWITCHES.get(text.lower())
            )
        return text == "true"

    def check(self, value: Any) -> bool:
        """Return the truth value; see :meth:`Value.check`."""
        if not isinstance(value, bool):
            raise ConfigError(f"must be True or False, not {value!r}")
        return value


@dataclass(frozen=True, slots=True)
class Choice:
    """A word out of a list."""

    words: tuple[str, ...]

    def read(self, text: str) -> str:
        """Return the word; see :meth:`Value.read`."""
        return self.check(text)

    def check(self, value: Any) -> str:
        """Return the word; see :meth:`Value.check`."""
        if value not in self.words:
            raise ConfigError(
                f"must be one of {', '.join(self.words)}, not {value!r}",
                suggestion=nearest(value, self.words),
            )
        # The word itself: an enum of strings is equal to it, but prints as something else.
        return self.words[self.words.index(value)]


@dataclass(frozen=True, slots=True)
class Choices:
    """At least one of some words, as a frozenset; written as a list."""

    each: Choice

    def read(self, text: str) -> frozenset[str]:
        """Raise: a text is not a list; the caller reads a list and passes its words to check."""
        raise ConfigError(f"must be a list, not {text!r}", suggestion=f"[{text}]")

    def check(self, value: Any) -> frozenset[str]:
        """Return the words; see :meth:`Value.check`."""
        if not isinstance(value, (list, tuple, set, frozenset)):
            raise ConfigError(f"must be a set of words, not {value!r}")
        words = [self.each.check(word) for word in value]
        if not words or len(set(words)) < len(words):
            raise ConfigError(f"must name one or more of {', '.join(self.each.words)}, each once")
        return frozenset(words)


@dataclass(frozen=True, slots=True)
class Name:
    """A name that the application has chosen."""

    def read(self, text: str) -> str:
        """Return the name; see :meth:`Value.read`."""
        return self.check(text)

    def check(self, value: Any) -> str:
        """Return the name; see :meth:`Value.check`."""
        if not isinstance(value, str) or not value:
            raise ConfigError(f"must be a name, not {value!r}")
        return str(value)


@dataclass(frozen=True, slots=True)
class Names:
    """Names that the application has chosen, perhaps none, as a frozenset; written as a list."""

    each: Name = Name()

    def read(self, text: str) -> frozenset[str]:
        """Raise: a text is not a list; the caller reads a list and passes its names to check."""
        raise ConfigError(f"must be a list, not {text!r}", suggestion=f"[{text}]")

    def check(self, value: Any) -> frozenset[str]:
        """Return the names; see :meth:`Value.check`."""
        if not isinstance(value, (list, tuple, set, frozenset)):
            raise ConfigError(f"must be a set of names, not {value!r}")
        return frozenset(map(self.each.check, value))


def duration_text(seconds: float) -> str:
    """Return a duration as it is written in a document, to the millisecond."""
    rest = round(seconds * 1000)
    text = ""
    for unit, milliseconds in _MILLISECONDS.items():
        number, rest = divmod(rest, milliseconds)
        text += f"{number}{unit}" if number else ""
    return text or "0s"


def size_text(size: int) -> str:
    """Return a size as it is written in a document, in the largest unit that needs no fraction."""
    units: Mapping[str, int] = {"GiB": 2**30, "MiB": 2**20, "KiB": 2**10}
    fitting = (
        f"{size // in_bytes}{unit}"
        for unit, in_bytes in units.items()
        if size and size % in_bytes == 0
    )
    return next(fitting, str(size))


def _check_range(value: Any, low: Any, high: Any, text: Any) -> None:
    # Not "value < low or value > high": NaN must be out of range too.
    if not low <= value <= high:
        shown = text(value) if 0 <= value < 2**53 else repr(value)
        raise ConfigError(f"must be from {text(low)} to {text(high)}, not {shown}")


def _nearest_duration(text: str) -> str | None:
    candidate = text.lower().replace(" ", "")
    if _COUNT.fullmatch(candidate):
        return f"{candidate}s"
    return candidate if candidate and _DURATION.fullmatch(candidate) else None


def _nearest_size(text: str) -> str | None:
    match = re.fullmatch("([0-9]{1,15}) *([A-Za-z]{1,5})", text)
    unit = nearest(match[2], _BYTES) if match else None
    return f"{match[1]}{unit}" if match and unit else None
