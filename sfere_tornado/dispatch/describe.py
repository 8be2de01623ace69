"""What a dispatcher can do, for people and tools: described from type hints and docstrings.

Nothing is declared twice. The description of a handler is its docstring up to the first section,
its parameters are those of the function after the first one (context, state or dispatch data), with
their type hints and their lines of the section ``Args:``. Keyword-only parameters are left out: an
effect is a tuple, and has no keywords.
"""

from __future__ import annotations

import inspect
import re
import warnings
from functools import partial
from types import SimpleNamespace, UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    NamedTuple,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from ..errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .registry import Entry, EntryKind, Registry

__all__ = ("Description", "Parameter", "describe", "grep", "sample", "schemas")

_SECTION: Final = re.compile(
    r"^(Args|Returns|Raises|Yields|Example|Examples|Note|Notes):\s*$", re.MULTILINE
)
_ARGUMENT: Final = re.compile(r"\*{0,2}(\w+)(?:\s*\([^)]*\))?:\s*(.*)")
_KINDS: Final[dict[str, EntryKind]] = {
    "effects": "effect",
    "actions": "action",
    "placeholders": "placeholder",
}


class Parameter(NamedTuple):
    """One argument of an effect, action or placeholder."""

    name: str
    #: The type hint; as text, when it cannot be resolved at run time; None when there is none.
    type: Any
    required: bool
    #: What stands for it when it is left out; None when it is required.
    default: Any
    #: Whether it takes any number of arguments, as ``*effects`` does.
    variadic: bool
    description: str


class Description(NamedTuple):
    """One effect, action or placeholder."""

    kind: EntryKind
    name: str
    #: The docstring up to its first section; empty when there is none.
    description: str
    #: None when the signature cannot be read.
    parameters: tuple[Parameter, ...] | None
    #: What it needs in the system; None when that was not declared.
    system_keys: tuple[str, ...] | None
    #: Whatever else it was registered with.
    metadata: dict[str, Any]
    #: The name of its registry.
    registry: str


def describe(registry: Registry, what: str | None = None) -> list[Description] | Description | None:
    """Describe what is in a registry.

    Args:
        registry: what is described.
        what: ``"effects"``, ``"actions"``, ``"placeholders"``, or None for all; or one name.

    Returns:
        A list in the order of registration. For one name its description (the effect's, when an
        action or a placeholder has the same name), or None when it is unknown.
    """
    if what is None:
        return list(_all(registry))
    if what in _KINDS:
        return [_description(entry) for entry in registry.entries(_KINDS[what]).values()]
    return _find(registry, what)


def grep(registry: Registry, text: str | re.Pattern[str]) -> list[Description]:
    """Search names, descriptions, parameters and metadata.

    Args:
        registry: what is described.
        text: searched for literally, in whatever case; a compiled pattern is used as it is.
    """
    pattern = re.compile(re.escape(text), re.IGNORECASE) if isinstance(text, str) else text
    return [
        found for found in _all(registry) if any(pattern.search(word) for word in _words(found))
    ]


def schemas(registry: Registry) -> dict[str, tuple[Parameter, ...]]:
    """Return parameters with type hints, by name; for a shared name as :func:`describe`."""
    found: dict[str, tuple[Parameter, ...]] = {}
    for one in _all(registry):
        if _has_schema(one):
            found.setdefault(one.name, one.parameters or ())
    return found


def sample(registry: Registry, name: str, n: int | None = None) -> Any:
    """Make up effects that fit the type hints of a handler; what they would do is not considered.

    Args:
        registry: what is described.
        name: of an effect, action or placeholder.
        n: how many; None for one that is not in a list.

    Returns:
        A tuple that begins with the name, or a list of ``n`` of them; None when the name is
        unknown, a parameter has no type hint, or nothing can be made of one.

    Raises:
        MissingDependencyError: when hypothesis is not installed.
    """
    try:
        from hypothesis import strategies  # noqa: PLC0415  # optional, so imported where it is used
        from hypothesis.errors import NonInteractiveExampleWarning  # noqa: PLC0415  # the same
    except ImportError:
        raise MissingDependencyError("hypothesis", "sample", "pip install hypothesis") from None
    found = _find(registry, name)
    if found is None or not _has_schema(found):
        return None
    try:
        arguments = strategies.just(())
        for parameter in found.parameters or ():
            one = strategies.from_type(_drawable(parameter.type))
            more = (
                strategies.lists(one, max_size=3).map(tuple)
                if parameter.variadic
                else strategies.tuples(one)
            )
            arguments = strategies.tuples(arguments, more).map(lambda pair: pair[0] + pair[1])
        with warnings.catch_warnings():
            # It warns of use outside of an interactive session, meaning tests; this is not one.
            warnings.simplefilter("ignore", NonInteractiveExampleWarning)
            made = [(name, *arguments.example()) for _ in range(1 if n is None else n)]
    except Exception:
        return None
    return made[0] if n is None else made


def _all(registry: Registry) -> Iterator[Description]:
    for kind in _KINDS.values():
        for entry in registry.entries(kind).values():
            yield _description(entry)


def _find(registry: Registry, name: str) -> Description | None:
    for kind in _KINDS.values():
        entry = registry.entries(kind).get(name)
        if entry is not None:
            return _description(entry)
    return None


def _description(entry: Entry) -> Description:
    function = _function(entry.handler)
    text = inspect.getdoc(function) or ""
    section = _SECTION.search(text)
    described = text[: section.start()] if section else text
    return Description(
        entry.kind,
        entry.name,
        described.strip(),
        _parameters(entry.handler, function, _argument_texts(text)),
        entry.system_keys,
        entry.metadata,
        entry.registry,
    )


def _function(handler: Callable[..., Any]) -> Any:
    """Return the function behind a handler, with its docstring and the names its hints use."""
    function: Any = handler
    while isinstance(function, partial):
        function = function.func
    function = inspect.unwrap(function)
    return (
        function
        if hasattr(function, "__globals__") or inspect.ismethod(function)
        else type(function).__call__
    )


def _parameters(
    handler: Callable[..., Any], function: Any, texts: dict[str, str]
) -> tuple[Parameter, ...] | None:
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):
        return None
    kinds = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    )
    positional = [one for one in signature.parameters.values() if one.kind in kinds]
    if positional and positional[0].kind != inspect.Parameter.VAR_POSITIONAL:
        # Context, state or dispatch data; a handler that takes only *arguments gets it as the first
        # of them.
        positional = positional[1:]
    return tuple(
        Parameter(
            one.name,
            _hint(one.annotation, getattr(function, "__globals__", {})),
            one.default is one.empty and one.kind != one.VAR_POSITIONAL,
            None if one.default is one.empty else one.default,
            one.kind == one.VAR_POSITIONAL,
            texts.get(one.name, ""),
        )
        for one in positional
    )


def _hint(annotation: Any, names: dict[str, Any]) -> Any:
    """Resolve one type hint alone: one for type checkers only must not spoil the others."""
    if annotation is inspect.Parameter.empty:
        return None
    try:
        return get_type_hints(SimpleNamespace(__annotations__={"hint": annotation}), names)["hint"]
    except Exception:
        return annotation


def _argument_texts(text: str) -> dict[str, str]:
    """Return the lines of the section ``Args:`` by argument, joined."""
    sections = _SECTION.split(text)
    lines = (
        inspect.cleandoc(sections[sections.index("Args") + 1]).splitlines()
        if "Args" in sections
        else []
    )
    texts: dict[str, str] = {}
    name = None
    for line in lines:
        begun = _ARGUMENT.match(line)
        if begun:
            name = begun[1]
            texts[name] = begun[2]
        elif name is not None and line.startswith(" "):
            texts[name] += " " + line.strip()
    return texts


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _words(key)
            yield from _words(inner)
    elif isinstance(value, (tuple, list, set, frozenset)):
        for inner in value:
            yield from _words(inner)
    elif value is not None:
        yield str(value)


def _has_schema(description: Description) -> bool:
    return description.parameters is not None and all(
        one.type is not None for one in description.parameters
    )


def _drawable(hint: Any) -> Any:
    """Return a type hint with ``object`` in place of ``Any``, of which nothing can be made."""
    if hint is Any:
        return object
    origin: Any = get_origin(hint)
    parts = tuple(_drawable(argument) for argument in get_args(hint))
    if origin in (Union, UnionType):
        return Union[parts]  # noqa: UP007  # from a tuple of members there is no other way
    return origin[parts] if parts and hasattr(origin, "__class_getitem__") else hint
