"""Every exception of the package, in one tree.

Each class also has the builtin parent that a caller would expect, so ``except ValueError`` works where a value was
wrong. Facts are kept as attributes; the text is made from them.

::

    SfereError (Exception)
    ├── ConfigError (ValueError)                a configuration document that cannot be used
    ├── KeyShapeError (ValueError)              a value that is no key, or no pattern
    ├── EventError (ValueError)                 an event that must not be put on the wire
    │   └── EventTooLargeError                  ... because it is larger than the bound
    ├── EventStreamError (ValueError)           received bytes that a strict reader refuses
    ├── StoreError (RuntimeError)
    │   ├── StoreFullError                      a newcomer refused at ``maxsize``
    │   │   └── PresenceFullError               ... because too many are present
    │   ├── LimitReachedError                   a newcomer refused by one of the limits
    │   └── KeyTakenError                       a newcomer refused by ``same_key: refuse``
    ├── MetaError (ValueError)                  what is to be known of a member cannot be kept
    ├── ConnectionClosedError (ConnectionError) something was to be sent on a closed stream
    ├── HubError (RuntimeError)                 a hub used in a state in which it cannot do that
    ├── ListenError (OSError)                   an address and port that cannot be listened on
    ├── RegistryError (TypeError)               a registry, handler or interceptor of the wrong shape
    ├── UnknownEffectError (LookupError)        no effect and no action has that name
    ├── EffectShapeError (TypeError)            an item that is no effect tuple
    ├── ExpansionDepthError (RecursionError)    actions that expand without end
    ├── StageAwaitError (TypeError)             a stage that must be awaited where none may
    ├── StageResultError (TypeError)            a stage that returned something else than the context or None
    ├── NoConnectionError (LookupError)         an effect needs a connection, and the dispatch has none
    ├── NoEventLoopError (RuntimeError)         something was to be awaited where no event loop runs
    └── MissingDependencyError (ImportError)    an optional package is needed
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = (
    "ConfigError",
    "ConnectionClosedError",
    "EffectShapeError",
    "EventError",
    "EventStreamError",
    "EventTooLargeError",
    "ExpansionDepthError",
    "HubError",
    "KeyShapeError",
    "KeyTakenError",
    "LimitReachedError",
    "ListenError",
    "MetaError",
    "MissingDependencyError",
    "NoConnectionError",
    "NoEventLoopError",
    "PresenceFullError",
    "RegistryError",
    "SfereError",
    "StageAwaitError",
    "StageResultError",
    "StoreError",
    "StoreFullError",
    "UnknownEffectError",
    "nearest",
)


def nearest(word: object, known: Iterable[str]) -> str | None:
    """Return the known word that a misspelt one most resembles, or None when none is near.

    Args:
        word: what was written; anything but a string resembles nothing.
        known: the right words.
    """
    if not isinstance(word, str):
        return None
    # A slip of one letter comes first: by resemblance alone "story" is nearer to "history" than to "store".
    candidates = list(known)
    slips = [name for name in candidates if _one_slip(word.lower(), name.lower())]
    lowered = [name.lower() for name in slips or candidates]
    found = get_close_matches(word.lower(), lowered, n=1, cutoff=0.0 if slips else 0.6)
    return next((name for name in candidates if found and name.lower() == found[0]), None)


def _one_slip(word: str, name: str) -> bool:
    """Tell whether a word is a name with one letter dropped, doubled, replaced, or swapped with its neighbour."""
    head = next(
        (n for n, (a, b) in enumerate(zip(word, name, strict=False)) if a != b),
        min(len(word), len(name)),
    )
    a, b = word[head:], name[head:]
    swapped = len(a) > 1 and a[1::-1] + a[2:] == b
    return a == b or a[1:] == b or a == b[1:] or a[1:] == b[1:] or swapped


class SfereError(Exception):
    """The root of every exception that this package raises on its own account."""


class ConfigError(SfereError, ValueError):
    """A configuration document cannot be used.

    Args:
        problem: what is wrong, one sentence without a full stop.
        source: the file's name, or another name for where the document came from.
        line: the line in it, counted from 1.
        path: the setting, as ``store.categories.lobby.ttl``.
        suggestion: what was probably meant.
    """

    def __init__(
        self,
        problem: str,
        *,
        source: str | None = None,
        line: int | None = None,
        path: str | None = None,
        suggestion: str | None = None,
    ) -> None:
        super().__init__(problem, source, line, path, suggestion)
        self.problem = problem
        self.source = source
        self.line = line
        self.path = path
        self.suggestion = suggestion

    def __str__(self) -> str:
        place = self.source or "configuration"
        if self.line is not None:
            place += f", line {self.line}"
        if self.path:
            place += f", at {self.path}"
        hint = f"; did you mean {self.suggestion!r}?" if self.suggestion else ""
        return f"{place}: {self.problem}{hint}"


class KeyShapeError(SfereError, ValueError):
    """A value is neither a key nor, where one is allowed, a pattern; ``value`` is what was given."""

    def __init__(self, problem: str, value: object) -> None:
        super().__init__(problem, value)
        self.problem = problem
        self.value = value

    def __str__(self) -> str:
        return f"{self.problem}: {self.value!r}"


class EventError(SfereError, ValueError):
    """An event cannot be put on the wire as it is; ``field`` names the part at fault."""

    def __init__(self, problem: str, field: str) -> None:
        super().__init__(problem, field)
        self.problem = problem
        self.field = field

    def __str__(self) -> str:
        return f"event field {self.field!r}: {self.problem}"


class EventTooLargeError(EventError):
    """An encoded event is larger than the bound; ``size`` and ``limit`` are in bytes."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"{size} bytes on the wire, the limit is {limit}; send a reference, or raise the limit",
            "data",
        )
        self.size = size
        self.limit = limit


class EventStreamError(SfereError, ValueError):
    """Received bytes break a rule of the event stream; ``line`` is counted from 1."""

    def __init__(self, problem: str, line: int) -> None:
        super().__init__(problem, line)
        self.problem = problem
        self.line = line

    def __str__(self) -> str:
        return f"event stream, line {self.line}: {self.problem}"


class StoreError(SfereError, RuntimeError):
    """A store did not take a connection; ``key`` is the one under which it was offered."""

    def __init__(self, problem: str, key: object) -> None:
        super().__init__(problem, key)
        self.problem = problem
        self.key = key

    def __str__(self) -> str:
        return f"{self.problem} (key {self.key!r})"


class StoreFullError(StoreError):
    """A newcomer was refused because the store holds ``maxsize`` connections already."""

    def __init__(self, key: object, maxsize: int) -> None:
        super().__init__(
            f"the store is full: {maxsize} connections; raise maxsize, or choose on_full: evict",
            key,
        )
        self.maxsize = maxsize


class PresenceFullError(StoreFullError):
    """A newcomer was refused because as many are present as may be; ``what`` says of which kind."""

    def __init__(self, key: object, maxsize: int, what: str) -> None:
        super().__init__(key, maxsize)
        self.what = what

    def __str__(self) -> str:
        return f"presence is full: {self.maxsize} {self.what} (key {self.key!r})"


class LimitReachedError(StoreError):
    """A newcomer was refused by a limit; ``name`` is the setting, ``limit`` its number, ``key`` whose number is reached.

    The name ``files`` is no setting: it is the system's limit of open files, as far as it leaves any for streams.
    """

    def __init__(self, name: str, limit: int, whose: object) -> None:
        bound = (
            "what the system's limit of open files leaves for them"
            if name == "files"
            else f"limits.{name}"
        )
        super().__init__(
            f"{limit} streams are open, which is {bound}; raise it, or close some", whose
        )
        self.name = name
        self.limit = limit

    def __str__(self) -> str:
        return f"{self.problem} (for {self.key!r})"


class KeyTakenError(StoreError):
    """A newcomer was refused because its key is held by another connection (``same_key: refuse``)."""

    def __init__(self, key: object) -> None:
        super().__init__("the key is held by another open connection, and same_key is refuse", key)


class MetaError(SfereError, ValueError):
    """What is to be known of a member cannot be kept and sent to the others; ``field`` names the part at fault."""

    def __init__(self, problem: str, field: str) -> None:
        super().__init__(problem, field)
        self.problem = problem
        self.field = field

    def __str__(self) -> str:
        return f"presence, {self.field!r}: {self.problem}"


class ConnectionClosedError(SfereError, ConnectionError):
    """Something was to be sent on a stream that is closed; ``reason`` says why it closed, if known."""

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the connection is closed (reason: {self.reason or 'unknown'})"


class HubError(SfereError, RuntimeError):
    """A hub was asked for something that its present state does not allow."""


class ListenError(SfereError, OSError):
    """An address and port cannot be listened on.

    Args:
        errno: the system's number, see ``errno``; None where it has none.
        problem: what is wrong, and what to do, without a full stop.
        address: where it was to be.
        port: the port.
    """

    def __init__(self, errno: int | None, problem: str, address: str, port: int) -> None:
        super().__init__(errno, problem)
        self.problem = problem
        self.address = address
        self.port = port

    def __reduce__(self) -> tuple[type[ListenError], tuple[int | None, str, str, int]]:
        # An OSError would be copied from its number and text alone.
        return type(self), (self.errno, self.problem, self.address, self.port)

    def __str__(self) -> str:
        return f"cannot listen on port {self.port} of {self.address or 'every address'}: {self.problem}"


class RegistryError(SfereError, TypeError):
    """A registry, a handler or an interceptor has the wrong shape."""


class UnknownEffectError(SfereError, LookupError):
    """No effect and no action is registered under ``name``; ``suggestion`` is the nearest name that is."""

    def __init__(self, name: object, suggestion: str | None = None) -> None:
        super().__init__(name, suggestion)
        self.name = name
        self.suggestion = suggestion

    def __str__(self) -> str:
        hint = f"; did you mean {self.suggestion!r}?" if self.suggestion else ""
        return f"unknown action or effect {self.name!r}{hint}"


class EffectShapeError(SfereError, TypeError):
    """An item is not an effect, which is a tuple that begins with a name; ``item`` is the item."""

    def __init__(self, problem: str, item: object) -> None:
        super().__init__(problem, item)
        self.problem = problem
        self.item = item

    def __str__(self) -> str:
        return (
            f"{self.problem}: {self.item!r}; make it with its constructor, such as send(...), or with "
            'effect("name", ...); a list is never an effect'
        )


class ExpansionDepthError(SfereError, RecursionError):
    """Actions expanded into actions ``limit`` times in a row; what the last one returned was dropped."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return f"actions were expanded {self.limit} levels deep without reaching effects; does one expand into itself?"


class StageAwaitError(SfereError, TypeError):
    """A stage returned something to be awaited, in a dispatch whose stages must not wait.

    Args:
        stage: the stage, such as ``before_dispatch``.
        interceptor_id: the ``id`` of its interceptor.
        kind: what the dispatch is, such as ``application``.
    """

    def __init__(self, stage: str, interceptor_id: object, kind: str) -> None:
        super().__init__(stage, interceptor_id, kind)
        self.stage = stage
        self.interceptor_id = interceptor_id
        self.kind = kind

    def __str__(self) -> str:
        return (
            f"stage {self.stage!r} of interceptor {self.interceptor_id!r} must be awaited, and this is "
            f"a dispatch of kind {self.kind!r}: only around requests and openings may stages await, "
            "because elsewhere the order of what is sent would depend on them; await in an effect"
        )


class StageResultError(SfereError, TypeError):
    """An interceptor's stage returned something that is neither the context nor None."""

    def __init__(self, stage: str, interceptor_id: object, value: object) -> None:
        super().__init__(stage, interceptor_id, value)
        self.stage = stage
        self.interceptor_id = interceptor_id
        self.value = value

    def __str__(self) -> str:
        return (
            f"stage {self.stage!r} of interceptor {self.interceptor_id!r} returned {type(self.value).__name__}; "
            "return the context, or nothing"
        )


class NoConnectionError(SfereError, LookupError):
    """An effect that writes to a connection ran in a dispatch that has none; ``effect`` is its name."""

    def __init__(self, effect: str) -> None:
        super().__init__(effect)
        self.effect = effect

    def __str__(self) -> str:
        return (
            f"the effect {self.effect!r} needs an open connection, and this dispatch has none; "
            "put it into broadcast(...) or with_connection(...), or return it from on_open"
        )


class NoEventLoopError(SfereError, RuntimeError):
    """A handler or stage returned an awaitable, and no event loop runs that could await it."""


class MissingDependencyError(SfereError, ImportError):
    """An optional package is not installed; the text has the command that installs it."""

    def __init__(self, package: str, purpose: str, command: str) -> None:
        super().__init__(package, purpose, command)
        self.package = package
        self.purpose = purpose
        self.command = command

    def __str__(self) -> str:
        return f"{self.purpose} needs the package {self.package!r}: {self.command}"
