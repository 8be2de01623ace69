"""Keys name connections, patterns name many keys at once.

A key is ``(scope, (category, id))``: whose connection it is, and which. The scope comes from the
server, never from the client. A pattern has the same shape, with :data:`ANY` in any place:
``(ANY, ("lobby", ANY))``, ``(ANY, ANY)``.

Two rules live here and nowhere else:

- **Only the object** :data:`ANY` **is a wildcard.** No string is, so a client that calls itself
  ``*`` or ``ANY`` matches only itself.
- **A key is complete.** None and :data:`ANY` are refused in every part of a key: a forgotten value
  must not become an address that many clients share.

The text form, ``scope/category/id``, is for people: YAML, the command line, pages for operators.
Each part is percent-encoded, so a slash or a star in a part is never read as a separator or a
wildcard; parts come back as strings.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum
from typing import Any, Final, Literal, NamedTuple, NoReturn, TypeAlias
from urllib.parse import quote, unquote

from .errors import KeyShapeError

__all__ = (
    "ANY",
    "DEFAULT_SCOPE",
    "NO_KEYS",
    "AnyPart",
    "Audience",
    "Exclude",
    "Key",
    "KeyLike",
    "Pattern",
    "PatternLike",
    "as_audience",
    "as_exclusion",
    "as_key",
    "as_pattern",
    "format_pattern",
    "matches",
    "parse_pattern",
)

# The scope of all connections when an application has only one.
DEFAULT_SCOPE: Final = "default"

# The exclusion of nothing.
NO_KEYS: Final[frozenset[Any]] = frozenset()


class _Any(Enum):
    """The type of :data:`ANY`; an enum stays one object through copy, pickle and a fork."""

    ANY = "any"

    # An enum's own hash is a function in Python, called for each pattern that is made.
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return "ANY"


ANY: Final = _Any.ANY
AnyPart: TypeAlias = Literal[_Any.ANY]

#: A key, or the plain tuple of its parts: ``(scope, (category, id))``.
KeyLike: TypeAlias = tuple[Any, tuple[Any, Any]]
#: A pattern, or the plain tuple of its parts; ``(scope, ANY)`` is ``(scope, (ANY, ANY))``.
PatternLike: TypeAlias = tuple[Any, tuple[Any, Any] | AnyPart]
#: Keys, or one pattern.
Exclude: TypeAlias = PatternLike | Collection[KeyLike]


class _Parts(NamedTuple):
    scope: Any
    inner: tuple[Any, Any]


class Key(_Parts):
    """The address of connections: ``(scope, (category, id))``, equal to the plain tuple.

    It is checked when it is made, see :func:`as_key`.
    """

    __slots__ = ()

    def __new__(cls, scope: Any, inner: Any) -> Key:  # noqa: PYI034  # no subclass is made
        """Return the key; see :func:`as_key`."""
        return as_key((scope, inner))

    @property
    def category(self) -> Any:
        """What kind of thing the connection belongs to, such as ``"lobby"``."""
        return self.inner[0]

    @property
    def id(self) -> Any:
        """Which one of its kind, such as a user's name."""
        return self.inner[1]

    def __str__(self) -> str:
        return format_pattern(self)


class Pattern(_Parts):
    """A key's shape with :data:`ANY` in any place; ``(ANY, ANY)`` becomes ``(ANY, (ANY, ANY))``.

    It is checked when it is made, see :func:`as_pattern`.
    """

    __slots__ = ()

    def __new__(cls, scope: Any, inner: Any) -> Pattern:  # noqa: PYI034  # no subclass is made
        """Return the pattern; see :func:`as_pattern`."""
        return as_pattern((scope, inner))

    @property
    def category(self) -> Any:
        """The category that must be equal, or :data:`ANY`."""
        return self.inner[0]

    @property
    def id(self) -> Any:
        """The id that must be equal, or :data:`ANY`."""
        return self.inner[1]

    def __str__(self) -> str:
        return format_pattern(self)


class Audience(NamedTuple):
    """The keys that something is sent to; make it with :func:`as_audience`."""

    #: The keys that match.
    pattern: Pattern
    #: Of these, the keys that are left out, or one pattern of them.
    exclude: Pattern | frozenset[Key] = frozenset()

    def includes(self, key: Key) -> bool:
        """Return whether something is sent to a key."""
        if not _match(self.pattern, key):
            return False
        exclude = self.exclude
        return not (_match(exclude, key) if type(exclude) is Pattern else key in exclude)


def as_audience(pattern: object, exclude: object = ()) -> Audience:
    """Return the audience of a pattern without the excluded keys.

    Args:
        pattern: as for :func:`as_pattern`.
        exclude: as for :func:`as_exclusion`.

    Raises:
        KeyShapeError: when either has another shape.
    """
    return tuple.__new__(
        Audience,
        (
            pattern if type(pattern) is Pattern else as_pattern(pattern),
            NO_KEYS if exclude == () or exclude == NO_KEYS else as_exclusion(exclude),
        ),
    )


def as_key(value: object) -> Key:
    """Return ``value`` as a :class:`Key`.

    Args:
        value: ``(scope, (category, id))``, a tuple or list of tuples or lists; parts are hashable,
            not None and not ANY.

    Raises:
        KeyShapeError: for any other shape, and for parts that are not allowed in a key.
    """
    if type(value) is Key:
        return value
    scope, category, item_id = _parts(value, "a key")
    for name, value in (("scope", scope), ("category", category), ("id", item_id)):
        if value is ANY:
            raise KeyShapeError(
                f"the {name} of a key must be one value; ANY belongs in patterns", value
            )
    return tuple.__new__(Key, (scope, (category, item_id)))


def as_pattern(value: object) -> Pattern:
    """Return ``value`` as a :class:`Pattern`.

    Args:
        value: as for :func:`as_key`, with ANY for any part, or for the whole ``(category, id)``.

    Raises:
        KeyShapeError: for any other shape.
    """
    if type(value) is Pattern:
        return value
    if type(value) is Key:
        return tuple.__new__(Pattern, value)
    if isinstance(value, (tuple, list)) and len(value) == 2 and value[1] is ANY:
        value = (value[0], (ANY, ANY))
    scope, category, item_id = _parts(value, "a pattern")
    return tuple.__new__(Pattern, (scope, (category, item_id)))


def as_exclusion(value: object) -> Pattern | frozenset[Key]:
    """Return ``exclude`` as one pattern or as a set of keys.

    Args:
        value: one :class:`Pattern` or :class:`Key`; a tuple of two whose first element is not a
            tuple, which is a pattern too; otherwise a set, frozenset, list or tuple of keys.

    Raises:
        KeyShapeError: for any other shape.
    """
    if isinstance(value, (Pattern, Key)) or (
        isinstance(value, tuple) and len(value) == 2 and not isinstance(value[0], tuple)
    ):
        return as_pattern(value)
    if value in ((), NO_KEYS):
        return NO_KEYS
    if not isinstance(value, (tuple, list, set, frozenset)):
        raise KeyShapeError("exclude takes a set or list of keys, or one pattern", value)
    return frozenset([as_key(key) for key in value])


def matches(pattern: object, key: object) -> bool:
    """Tell whether a pattern names a key: each part is ANY, or equal to the part of the key.

    Raises:
        KeyShapeError: when either has the wrong shape.
    """
    return _match(as_pattern(pattern), as_key(key))


def format_pattern(value: object) -> str:
    """Return the text form of a key or pattern: ``scope/category/id``, with ``*`` for ANY.

    Each part is percent-encoded; one that is not a string is written as ``str`` writes it.

    Raises:
        KeyShapeError: when ``value`` is neither.
    """
    pattern = as_pattern(value)
    # A client's JSON can contain a lone surrogate; it must be possible to print it in a log line.
    parts = (pattern.scope, *pattern.inner)
    return "/".join(
        "*" if each is ANY else quote(str(each), safe="", errors="surrogatepass") for each in parts
    )


def parse_pattern(text: str) -> Pattern:
    """Read the text form of a key or pattern.

    Args:
        text: ``scope/category/id`` or, for everything of a scope, ``scope/*``; ``%2A`` is a literal
            star.

    Returns:
        The pattern; its parts are strings or ANY. :func:`as_key` makes a key of one without ANY.

    Raises:
        KeyShapeError: when there are not two or three parts, or two of which the second is not
            ``*``, or a part is not UTF-8.
    """
    parts = text.split("/")
    if len(parts) == 2 and parts[1] == "*":
        parts.append("*")
    if len(parts) != 3:
        raise KeyShapeError("a pattern in text form is scope/category/id, or scope/*", text)
    try:
        scope, category, item_id = (
            ANY if each == "*" else unquote(each, errors="surrogatepass") for each in parts
        )
    except UnicodeDecodeError:
        raise KeyShapeError(
            "the percent-encoded bytes of a pattern in text form must be UTF-8", text
        ) from None
    return as_pattern((scope, (category, item_id)))


def _match(pattern: Pattern, key: Key) -> bool:
    # The only place of this rule. It runs once for each event that a replay reads, so what was
    # checked before is not checked again.
    scope, (category, item_id) = pattern
    own = key[1]
    return (
        (scope is ANY or scope == key[0])
        and (category is ANY or category == own[0])
        and (item_id is ANY or item_id == own[1])
    )


def _parts(value: object, what: str) -> tuple[Any, Any, Any]:
    inner = value[1] if isinstance(value, (tuple, list)) and len(value) == 2 else None
    if not isinstance(inner, (tuple, list)) or len(inner) != 2:
        raise KeyShapeError(f"{what} has the shape (scope, (category, id))", value)
    scope, category, item_id = value[0], inner[0], inner[1]  # type: ignore[index]  # a pair
    if scope is None or category is None or item_id is None:
        _refuse(value, what, scope, category, item_id)
    try:
        hash((scope, category, item_id))
    except TypeError:
        _refuse(value, what, scope, category, item_id)
    return scope, category, item_id


def _refuse(value: object, what: str, *parts: object) -> NoReturn:
    """Raise the error that names the wrong part."""
    for name, value in zip(("scope", "category", "id"), parts, strict=True):
        if value is None:
            raise KeyShapeError(
                f"the {name} of {what} must not be None: callers without a value would share it",
                value,
            )
        try:
            hash(value)
        except TypeError:
            break
    raise KeyShapeError(
        f"the {name} of {what} must be hashable, such as str, int or UUID", value
    ) from None
