"""Registries: what can be done by name, collected from decorators or from a plain dict.

A registry only collects. A dispatcher copies what it holds when the dispatcher is made. Several are
merged left to right: of two handlers with one name the later wins, and a warning names both
registries. Within one registry
the same name twice is an error.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, TypeVar, overload

from ..errors import RegistryError, hint
from .interceptors import check_interceptor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .interceptors import Interceptor

__all__ = ("Entry", "EntryKind", "Registry", "as_registry", "merge")

log: logging.Logger = logging.getLogger("sfere_tornado.dispatch")

EntryKind: TypeAlias = Literal["effect", "action", "placeholder"]
F = TypeVar("F", bound="Callable[..., Any]")

_KEYS: Final = (
    "name",
    "effects",
    "actions",
    "placeholders",
    "interceptors",
    "innermost",
    "system_schema",
    "system_to_state",
)


class Entry(NamedTuple):
    """One handler under its name."""

    kind: EntryKind
    name: str
    handler: Callable[..., Any]
    #: The name of the registry that it was registered with.
    registry: str
    #: What the handler needs in the system, for people to read; None when that was not declared.
    system_keys: tuple[str, ...] | None
    #: Whatever else was given, for people and tools to read.
    metadata: dict[str, Any]


class Registry:
    """Effects, actions, placeholders and interceptors that belong together.

    Args:
        name: for people to read, in warnings and descriptions.
    """

    #: The names of effects that are plain functions, read ``ctx.system["sse"]``, send to it, and do
    #: nothing else with the context. A continuation of these needs no context of its own.
    senders: frozenset[str] = frozenset()

    def __init__(self, name: str = "registry") -> None:
        self.name = name
        self.effects: dict[str, Entry] = {}
        self.actions: dict[str, Entry] = {}
        self.placeholders: dict[str, Entry] = {}
        self.interceptors: list[Interceptor] = []
        #: Interceptors that stand after all others, also after those of one dispatch.
        self.innermosts: list[Interceptor] = []
        #: What the system must hold, by key; None when that was not declared.
        self.schema: dict[str, Any] | None = None
        #: Makes the state, which actions get, of the system.
        self.to_state: Callable[[dict[str, Any]], Any] | None = None

    def __repr__(self) -> str:
        return (
            f"<Registry {self.name!r}: {len(self.effects)} effects, {len(self.actions)} actions, "
            f"{len(self.placeholders)} placeholders, {len(self.interceptors) + len(self.innermosts)} interceptors>"
        )

    @classmethod
    def from_dict(cls, parts: Mapping[str, Any]) -> Registry:
        """Return a registry with what a mapping holds.

        Args:
            parts: any of ``name``; ``effects``, ``actions`` and ``placeholders``, each a mapping
                from names to handlers, or to ``{"handler": fn, "system_keys": [...], **metadata}``;
                ``interceptors`` and ``innermost``, lists; ``system_schema``, a mapping;
                ``system_to_state``, a function.

        Raises:
            RegistryError: for an unknown key (the text names the nearest), and as the methods
                below.
        """
        for key in parts:
            if key not in _KEYS:
                raise RegistryError(f"a registry has no {key!r}; {hint(key, _KEYS)}")
        registry = cls(parts.get("name", "registry"))
        kinds: tuple[tuple[EntryKind, str], ...] = (
            ("effect", "effects"),
            ("action", "actions"),
            ("placeholder", "placeholders"),
        )
        for kind, key in kinds:
            for name, handler in _mapping(parts.get(key, {}), key).items():
                options = dict(handler) if isinstance(handler, Mapping) else {"handler": handler}
                registry._add(
                    kind,
                    name,
                    options.pop("handler", None),
                    options.pop("system_keys", None),
                    options,
                )
        for interceptor in parts.get("interceptors", ()):
            registry.interceptor(interceptor)
        for interceptor in parts.get("innermost", ()):
            registry.innermost(interceptor)
        if parts.get("system_schema") is not None:
            registry.system_schema(parts["system_schema"])
        if parts.get("system_to_state") is not None:
            registry.system_to_state(parts["system_to_state"])
        return registry

    @overload
    def effect(self, name: F, /) -> F: ...

    @overload
    def effect(
        self,
        name: str | None = None,
        /,
        *,
        system_keys: Iterable[str] | None = None,
        **metadata: Any,
    ) -> Callable[[F], F]: ...

    def effect(
        self, name: Any = None, /, *, system_keys: Iterable[str] | None = None, **metadata: Any
    ) -> Any:
        """Register an effect, ``handler(ctx, *arguments)``; a decorator, with or without arguments.

        Args:
            name: by which it is dispatched; the function's own when left out.
            system_keys: what the handler needs in the system, for people to read.
            metadata: anything else that people and tools shall find with it.

        Raises:
            RegistryError: for a name that is empty or taken, and a handler that cannot be called.
        """
        return self._register("effect", name, system_keys, metadata)

    @overload
    def action(self, name: F, /) -> F: ...

    @overload
    def action(
        self,
        name: str | None = None,
        /,
        *,
        system_keys: Iterable[str] | None = None,
        **metadata: Any,
    ) -> Callable[[F], F]: ...

    def action(
        self, name: Any = None, /, *, system_keys: Iterable[str] | None = None, **metadata: Any
    ) -> Any:
        """Register an action, ``handler(state, *arguments)``; otherwise as :meth:`effect`."""
        return self._register("action", name, system_keys, metadata)

    @overload
    def placeholder(self, name: F, /) -> F: ...

    @overload
    def placeholder(
        self,
        name: str | None = None,
        /,
        *,
        system_keys: Iterable[str] | None = None,
        **metadata: Any,
    ) -> Callable[[F], F]: ...

    def placeholder(
        self, name: Any = None, /, *, system_keys: Iterable[str] | None = None, **metadata: Any
    ) -> Any:
        """Register a placeholder, ``handler(dispatch_data, *arguments)``; else as :meth:`effect`.

        Every tuple in an effect that begins with its name is taken for it, so the name should be
        one that data does not begin with.
        """
        return self._register("placeholder", name, system_keys, metadata)

    def interceptor(self, interceptor: Interceptor) -> None:
        """Add an interceptor, inside of those that were added before.

        Args:
            interceptor: ``id`` and any of the stages.

        Raises:
            RegistryError: when it has the wrong shape.
        """
        check_interceptor(interceptor)
        self.interceptors.append(interceptor)

    def innermost(self, interceptor: Interceptor) -> None:
        """Add an interceptor inside all others of the chain, also inside those of one dispatch.

        Raises:
            RegistryError: when it has the wrong shape.
        """
        check_interceptor(interceptor)
        self.innermosts.append(interceptor)

    def system_schema(self, schema: Mapping[str, Any]) -> None:
        """Describe what the system must hold; a second call for a key replaces the first.

        Args:
            schema: from keys of the system to types or descriptions.

        Raises:
            RegistryError: when it is no mapping.
        """
        self.schema = {**(self.schema or {}), **_mapping(schema, "system_schema")}

    def system_to_state(self, function: F) -> F:
        """Register the function that makes the state, once a dispatch, before any interceptor.

        Raises:
            RegistryError: when it cannot be called, or there is one already.
        """
        if not callable(function):
            raise RegistryError(f"system_to_state is {function!r}, which cannot be called")
        if self.to_state is not None:
            raise RegistryError(f"registry {self.name!r} has a system_to_state already")
        self.to_state = function
        return function

    def entries(self, kind: EntryKind) -> dict[str, Entry]:
        """Return the entries of one kind by name; the registry's own dict."""
        return {"effect": self.effects, "action": self.actions, "placeholder": self.placeholders}[
            kind
        ]

    def _register(
        self,
        kind: EntryKind,
        name: Any,
        system_keys: Iterable[str] | None,
        metadata: dict[str, Any],
    ) -> Any:
        if callable(name):
            self._add(kind, getattr(name, "__name__", None), name, system_keys, metadata)
            return name

        def decorate(function: F) -> F:
            own = getattr(function, "__name__", None)
            self._add(kind, own if name is None else name, function, system_keys, metadata)
            return function

        return decorate

    def _add(
        self,
        kind: EntryKind,
        name: Any,
        handler: Any,
        system_keys: Iterable[str] | None,
        metadata: dict[str, Any],
    ) -> None:
        where = f"{kind} {name!r} of registry {self.name!r}"
        if not isinstance(name, str) or not name:
            raise RegistryError(f"{where}: the name must be a string that is not empty")
        if not callable(handler):
            raise RegistryError(f"{where}: the handler is {handler!r}, which cannot be called")
        if isinstance(system_keys, str):
            raise RegistryError(f"{where}: system_keys is a list of keys; write [{system_keys!r}]")
        entries = self.entries(kind)
        if name in entries:
            raise RegistryError(f"{where} is registered twice; give one of them another name")
        entries[name] = Entry(
            kind,
            name,
            handler,
            self.name,
            None if system_keys is None else tuple(system_keys),
            metadata,
        )


def as_registry(spec: Any) -> Registry:
    """Return the registry that a spec stands for.

    Args:
        spec: a registry; a mapping, as for :meth:`Registry.from_dict`; a function without arguments
            that returns one of these; or the same with arguments, ``[function, *arguments]``.

    Raises:
        RegistryError: for anything else.
    """
    made = spec
    if isinstance(spec, (list, tuple)) and spec and callable(spec[0]):
        made = spec[0](*spec[1:])
    elif callable(spec):
        made = spec()
    if isinstance(made, Registry):
        return made
    if isinstance(made, Mapping):
        return Registry.from_dict(made)
    origin = "" if made is spec else f", which returned {made!r}"
    raise RegistryError(
        f"invalid registry spec {spec!r}{origin}; give a Registry, a dict, a function that returns one, "
        "or [function, *arguments]"
    )


def merge(registries: Iterable[Registry]) -> Registry:
    """Merge registries into one; of two handlers with one name the later wins, with a warning."""
    merged = Registry("merged")
    state_of = ""
    for registry in registries:
        for kind in ("effect", "action", "placeholder"):
            entries = merged.entries(kind)
            for name, entry in registry.entries(kind).items():
                if name in entries:
                    _warn(f"{kind} {name!r}", registry.name, entries[name].registry)
                entries[name] = entry
        merged.senders = merged.senders - registry.effects.keys() | registry.senders
        merged.interceptors += registry.interceptors
        merged.innermosts += registry.innermosts
        if registry.schema is not None:
            merged.system_schema(registry.schema)
        if registry.to_state is not None:
            if merged.to_state is not None:
                _warn("system_to_state", registry.name, state_of)
            merged.to_state, state_of = registry.to_state, registry.name
    return merged


def _warn(what: str, later: str, earlier: str) -> None:
    log.warning("%s of registry %r replaces the one of registry %r", what, later, earlier)


def _mapping(value: Any, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise RegistryError(f"{key} of a registry is a mapping, not {value!r}")
    return value
