"""Every exception of the package, in one tree.

Each class also has the builtin parent that a caller would expect: ``except ValueError`` catches a
wrong value. The facts are attributes; the text is made from them.

Law: **a text says what happened, where, and what to do**, in this order.

::

    SfereError (Exception)
    ├── ConfigError (ValueError)                a configuration document that cannot be used
    ├── KeyShapeError (ValueError)              a value that is not a valid key or pattern
    ├── EventError (ValueError)                 an event that must not be put on the wire
    │   └── EventTooLargeError                  an event that is larger than the bound
    ├── EventStreamError (ValueError)           received bytes that a strict reader refuses
    ├── StoreError (RuntimeError)
    │   ├── StoreFullError                      a newcomer refused at ``maxsize``
    │   ├── LimitReachedError                   a newcomer refused by one of the limits
    │   └── KeyTakenError                       a newcomer refused by ``same_key: refuse``
    ├── PresenceFullError (RuntimeError)        a newcomer refused at ``max_members``
    ├── MetaError (ValueError)                  data about a member that cannot be kept
    ├── ConnectionClosedError (ConnectionError) a send on a stream that is closed
    ├── HubError (RuntimeError)                 a hub in a state that does not allow the call
    ├── ListenError (OSError)                   an address and port that cannot be listened on
    ├── RegistryError (TypeError)               a registry, handler or stage of the wrong shape
    ├── UnknownEffectError (LookupError)        a name without an effect or action
    ├── EffectShapeError (TypeError)            an item that is not a valid effect tuple
    ├── ExpansionDepthError (RecursionError)    actions that expand without end
    ├── StageAwaitError (TypeError)             a stage that must be awaited where none may
    ├── StageResultError (TypeError)            a stage that returned neither the context nor None
    ├── NoConnectionError (LookupError)         an effect without the connection that it needs
    ├── NoEventLoopError (RuntimeError)         an awaitable where no event loop runs
    └── MissingDependencyError (ImportError)    an optional package that is not installed
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

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
    "hint",
    "nearest",
    "with_suggestion",
)


def nearest(word: object, known: Iterable[str]) -> str | None:
    """Return the known word that a misspelt one most resembles, or None when none is near.

    Args:
        word: what was written; only a string resembles anything.
        known: the right words.
    """
    if not isinstance(word, str):
        return None
    # A slip of one letter comes first: by resemblance alone "story" is nearer to "history" than to
    # "store".
    candidates = list(known)
    slips = [name for name in candidates if _one_slip(word.lower(), name.lower())]
    lowered = [name.lower() for name in slips or candidates]
    close = get_close_matches(word.lower(), lowered, n=1, cutoff=0.0 if slips else 0.6)
    return next((name for name in candidates if close and name.lower() == close[0]), None)


def hint(word: object, known: Iterable[str]) -> str:
    """Return what to write in place of an unknown word: the nearest known one, or all of them.

    Args:
        word: what was written.
        known: the right words, in the order in which to list them.
    """
    words = list(known)
    return _did_you_mean(nearest(word, words)) or f"there are {', '.join(words) or 'none'}"


def _did_you_mean(suggestion: str | None) -> str:
    return f"did you mean {suggestion!r}?" if suggestion else ""


def with_suggestion(text: str, suggestion: str | None) -> str:
    """Return a text that ends with a suggestion, or as it is where there is none.

    Args:
        text: what is wrong, without a full stop.
        suggestion: what was probably meant.
    """
    return f"{text}; {_did_you_mean(suggestion)}" if suggestion else text


def _one_slip(word: str, name: str) -> bool:
    """Tell whether a letter of a name was dropped, doubled, replaced, or swapped with the next."""
    head = next(
        (n for n, (a, b) in enumerate(zip(word, name, strict=False)) if a != b),
        min(len(word), len(name)),
    )
    a, b = word[head:], name[head:]
    swapped = len(a) > 1 and a[1::-1] + a[2:] == b
    return a == b or a[1:] == b or a == b[1:] or a[1:] == b[1:] or swapped


class SfereError(Exception):
    """The root of every exception that this package defines."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls the class with args, which fails where __init__ takes other arguments.
        return _made_again, (type(self), self.args), vars(self)


def _made_again(kind: type[SfereError], arguments: tuple[Any, ...]) -> SfereError:
    """Return an exception out of a pickle; its attributes follow."""
    return kind.__new__(kind, *arguments)


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
        return with_suggestion(f"{place}: {self.problem}", self.suggestion)


class KeyShapeError(SfereError, ValueError):
    """A value is not a valid key, or not a valid pattern; ``value`` is what was passed."""

    def __init__(self, problem: str, value: object) -> None:
        super().__init__(problem, value)
        self.problem = problem
        self.value = value

    def __str__(self) -> str:
        return f"{self.problem}: {self.value!r}"


class EventError(SfereError, ValueError):
    """An event cannot be put on the wire as it is; ``field`` names the one at fault."""

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
            f"has {size} bytes on the wire, {limit} are allowed (stream.max_event_size); "
            "send a reference, or raise the limit",
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
    """A newcomer was refused because the store already has ``maxsize`` connections."""

    def __init__(self, key: object, maxsize: int) -> None:
        super().__init__(
            f"the store already has {maxsize} connections (store.maxsize); "
            "raise it, or set store.on_full to evict",
            key,
        )
        self.maxsize = maxsize


class LimitReachedError(StoreError):
    """A newcomer was refused by a limit on the number of open streams.

    Args:
        name: the setting, such as ``per_address``; ``files`` is not a setting but what the system's
            limit of open files leaves for streams.
        limit: the number of streams allowed.
        key: what has too many: an address, a scope or a key. The whole process has too many where
            ``name`` is ``total`` or ``files``; ``key`` is then the address that was refused.
    """

    def __init__(self, name: str, limit: int, key: object) -> None:
        whole = name in ("total", "files")
        bound = "the system's limit of open files" if name == "files" else f"limits.{name}"
        problem = (
            f"{'this process' if whole else key} already has {limit} open streams ({bound}); "
            "raise the limit or close some"
        )
        super().__init__(problem, key)
        self.name = name
        self.limit = limit

    def __str__(self) -> str:
        return self.problem


class KeyTakenError(StoreError):
    """A newcomer was refused because another connection has its key (``same_key: refuse``)."""

    def __init__(self, key: object) -> None:
        super().__init__(
            "another open connection has the key (same_key: refuse); "
            "close it first, or set same_key to join or replace",
            key,
        )


class PresenceFullError(SfereError, RuntimeError):
    """A newcomer was refused because ``max_members`` members are present; ``key`` is its key."""

    def __init__(self, key: object, max_members: int) -> None:
        super().__init__(key, max_members)
        self.key = key
        self.max_members = max_members

    @property
    def problem(self) -> str:
        """What is wrong, and what to do: the text."""
        return str(self)

    def __str__(self) -> str:
        return (
            f"presence already has {self.max_members} members with an open stream (max_members); "
            f"raise store.maxsize or close some (key {self.key!r})"
        )


class MetaError(SfereError, ValueError):
    """Data about a member cannot be kept and sent to others; ``field`` names the one at fault."""

    def __init__(self, problem: str, field: str) -> None:
        super().__init__(problem, field)
        self.problem = problem
        self.field = field

    def __str__(self) -> str:
        return f"presence field {self.field!r}: {self.problem}"


class ConnectionClosedError(SfereError, ConnectionError):
    """A send came after the stream had closed; ``reason`` says why it closed, if that is known."""

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"the connection is closed (reason: {self.reason or 'unknown'}); "
            "check connection.closed before sending"
        )


class HubError(SfereError, RuntimeError):
    """A hub was called in a state that does not allow the call."""


class ListenError(SfereError, OSError):
    """An address and port cannot be listened on.

    Args:
        errno: the system's number, see the module ``errno``; None where there is none.
        problem: what is wrong, and what to do, without a full stop.
        address: the address; empty means all addresses.
        port: the port.
    """

    def __init__(self, errno: int | None, problem: str, address: str, port: int) -> None:
        super().__init__(errno, problem)
        self.problem = problem
        self.address = address
        self.port = port

    def __reduce__(self) -> tuple[Any, ...]:
        # The number is not in vars(): OSError takes it from the arguments.
        return type(self), (self.errno, self.problem, self.address, self.port)

    def __str__(self) -> str:
        where = f"port {self.port} of {self.address or 'every address'}"
        return f"cannot listen on {where}: {self.problem}"


class RegistryError(SfereError, TypeError):
    """A registry, a handler or an interceptor has the wrong shape."""


class UnknownEffectError(SfereError, LookupError):
    """No effect or action has the name ``name``; ``suggestion`` is the nearest registered name."""

    def __init__(self, name: object, suggestion: str | None = None) -> None:
        super().__init__(name, suggestion)
        self.name = name
        self.suggestion = suggestion

    def __str__(self) -> str:
        return with_suggestion(f"unknown action or effect {self.name!r}", self.suggestion)


class EffectShapeError(SfereError, TypeError):
    """An item is not a valid effect: a tuple that begins with a name; ``item`` is the item."""

    def __init__(self, problem: str, item: object) -> None:
        super().__init__(problem, item)
        self.problem = problem
        self.item = item

    def __str__(self) -> str:
        return (
            f"{self.problem}: {self.item!r}; make it with its constructor, such as send(...), "
            'or with effect("name", ...); a list is never an effect'
        )


class ExpansionDepthError(SfereError, RecursionError):
    """Actions expanded into actions ``limit`` times in a row; the last result was dropped."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"actions expanded into actions {self.limit} times in a row without reaching effects; "
            "let none expand into itself"
        )


class StageAwaitError(SfereError, TypeError):
    """A stage returned an awaitable, in a dispatch whose stages must not await.

    Args:
        stage: the stage, such as ``before_dispatch``.
        interceptor_id: the ``id`` of its interceptor.
        kind: the kind of the dispatch, such as ``application``.
    """

    def __init__(self, stage: str, interceptor_id: object, kind: str) -> None:
        super().__init__(stage, interceptor_id, kind)
        self.stage = stage
        self.interceptor_id = interceptor_id
        self.kind = kind

    def __str__(self) -> str:
        return (
            f"stage {self.stage!r} of interceptor {self.interceptor_id!r} returned an awaitable in "
            f"a dispatch of kind {self.kind!r}; only stages around a request or an opening may "
            "await, because elsewhere the order of the sends would depend on them; await in an "
            "effect"
        )


class StageResultError(SfereError, TypeError):
    """A stage of an interceptor returned neither the context nor None; ``value`` is its result."""

    def __init__(self, stage: str, interceptor_id: object, value: object) -> None:
        super().__init__(stage, interceptor_id, value)
        self.stage = stage
        self.interceptor_id = interceptor_id
        self.value = value

    def __str__(self) -> str:
        return (
            f"stage {self.stage!r} of interceptor {self.interceptor_id!r} returned "
            f"{type(self.value).__name__}; return the context or None"
        )


class NoConnectionError(SfereError, LookupError):
    """An effect that needs a connection ran in a dispatch without one; ``effect`` is its name."""

    def __init__(self, effect: str) -> None:
        super().__init__(effect)
        self.effect = effect

    def __str__(self) -> str:
        return (
            f"the effect {self.effect!r} needs an open connection, and this dispatch has none; "
            "put the effect into broadcast(...) or with_connection(...), or return it from on_open"
        )


class NoEventLoopError(SfereError, RuntimeError):
    """A handler or stage returned an awaitable, and no event loop runs in this thread."""


class MissingDependencyError(SfereError, ImportError):
    """An optional package is not installed; ``command`` is the command that installs it."""

    def __init__(self, package: str, purpose: str, command: str) -> None:
        super().__init__(package, purpose, command)
        self.package = package
        self.purpose = purpose
        self.command = command

    def __str__(self) -> str:
        return f"{self.purpose} needs the package {self.package!r}; install it: {self.command}"
