"""A YAML document becomes a :class:`~.settings.HubConfig`, or an error that names the line.

YAML can do more than settings need, and some of it is dangerous or misleading. Aliases expand to
millions of values; of two equal keys the last wins silently; tags make objects; deep nesting ends
in a RecursionError. So the document is only *composed*, by a strict subclass of PyYAML's safe
loader, and never constructed: each value stays text until its setting reads it.

Law: **every wrong document raises** a :class:`~sfere_tornado.errors.ConfigError`; the first mistake
counts.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from yaml import AliasEvent, MappingNode, MarkedYAMLError, SafeLoader, ScalarNode, SequenceNode
from yaml.reader import ReaderError

from ..errors import ConfigError, hint, nearest
from .settings import HubConfig, StoreConfig, refuse_pointless
from .values import Choices, Names

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterator, Mapping

    from yaml import Node

    from .values import Value

__all__ = ("MAX_DEPTH", "MAX_DOCUMENT", "load", "parse")

#: Characters of a document, or bytes of a file, 1 MiB: some ten thousand categories.
MAX_DOCUMENT: Final = 1024 * 1024

#: Levels of nesting, 8: a full document has 5 (store, categories, a category, a setting, a list).
MAX_DEPTH: Final = 8


def load(path: str | os.PathLike[str]) -> HubConfig:
    """Return the settings of a YAML file in UTF-8; an empty one has all the defaults.

    Args:
        path: the file, of at most :data:`MAX_DOCUMENT` bytes.

    Raises:
        ConfigError: when the file cannot be read, or its document cannot be used.
    """
    source = str(path)
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MAX_DOCUMENT + 1)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot be read ({error})", source=source) from error
    _check_size(len(raw), source)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            "is not UTF-8; save the file in that encoding", source=source, line=line
        ) from error
    return parse(text, source)


def parse(text: str, source: str = "<string>") -> HubConfig:
    """Return the settings of a YAML document; an empty one has all the defaults.

    Args:
        text: at most :data:`MAX_DOCUMENT` characters.
        source: where the text came from; for errors.

    Raises:
        ConfigError: when the document cannot be used; it names the line and the setting.
    """
    _check_size(len(text), source)
    root = _compose(text, source)
    return _Reader(source).hub(root) if root is not None else HubConfig()


class _RefusedError(MarkedYAMLError):
    """A feature of YAML that a document of settings must not use."""


class _StrictLoader(SafeLoader):
    """Composes nodes without aliases, anchors, tags or deep nesting."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs do not type it
        problem = None
        if isinstance(event, AliasEvent) or event.anchor is not None:
            problem = (
                "anchors (&) and aliases (*) are not supported; "
                "write the value out, or put text in quotes"
            )
        elif event.tag is not None:
            problem = "tags (!) are not supported; write the plain value, or put text in quotes"
        elif self._depth == MAX_DEPTH:
            problem = f"nested more than {MAX_DEPTH} levels deep"
        if problem:
            raise _RefusedError(problem=problem, problem_mark=event.start_mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Reader:
    """Makes records of nodes, and remembers the line of each setting."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.lines: dict[str, int] = {}

    def hub(self, root: Node) -> HubConfig:
        return HubConfig(**self.settings(HubConfig, root, ""))

    def record(self, record: type, node: Node, path: str) -> Any:
        values = self.settings(record, node, path)
        try:
            made = record(**values)
            if isinstance(made, StoreConfig):
                # A setting that repeats its default was set on purpose too.
                refuse_pointless(made, values)
            return made
        except ConfigError as error:
            raise self.placed(error) from None

    def settings(self, record: type, node: Node, path: str) -> dict[str, Any]:
        kinds: dict[str, Mapping[str, Any]] = {each.name: each.metadata for each in fields(record)}
        return {
            name: self.setting(kinds[name], value, f"{path}.{name}" if path else name)
            for name, value in self.entries(node, path, kinds)
        }

    def setting(self, kind: Mapping[str, Any], node: Node, path: str) -> Any:
        if "section" in kind:
            return self.record(kind["section"], node, path)
        if "by_category" in kind:
            rules = kind["by_category"]
            return {
                name: self.record(rules, each, f"{path}.{name}")
                for name, each in self.entries(node, path, None)
            }
        return self.value(node, kind["value"], path)

    def entries(
        self, node: Node, path: str, known: Collection[str] | None
    ) -> Iterator[tuple[str, Node]]:
        """Yield names and nodes of a mapping, each checked in turn: the first mistake counts."""
        if _is_empty(node):
            return
        if not isinstance(node, MappingNode):
            raise self.wrong("must be settings, one 'name: value' a line", node, path)
        seen: dict[str, int] = {}
        for key, value in node.value:
            name = key.value
            if not isinstance(key, ScalarNode) or not name:
                raise self.wrong("a name must be one word", key, path)
            where = f"{path}.{name}" if path else name
            if name == "<<" and key.style is None:
                raise self.wrong(
                    "merge keys (<<) are not supported; write the settings out", key, path
                )
            if name in seen:
                raise self.wrong(
                    f"is set twice, first in line {seen[name]}; remove one of the two", key, where
                )
            if known is not None and name not in known:
                suggestion = nearest(name, known)
                others = "" if suggestion else f"; {hint(name, known)}"
                raise self.wrong(f"unknown setting {name!r}{others}", key, where, suggestion)
            seen[name] = _line(key)
            self.lines[where] = _line(key)
            yield name, value

    def value(self, node: Node, kind: Value, path: str) -> Any:
        if _is_empty(node):
            raise self.wrong("has no value; write one, or remove the line", node, path)
        read: Callable[[Any], Any] = kind.read
        value = node.value
        if isinstance(kind, (Choices, Names)) and isinstance(node, SequenceNode):
            read, value = kind.check, [self.value(item, kind.each, path) for item in node.value]
        elif not isinstance(node, ScalarNode):
            raise self.wrong(
                "must be one value, not a list and not settings of its own", node, path
            )
        try:
            return read(value)
        except ConfigError as error:
            raise self.wrong(error.problem, node, path, error.suggestion) from None

    def wrong(
        self, problem: str, node: Node, path: str, suggestion: str | None = None
    ) -> ConfigError:
        return ConfigError(
            problem, source=self.source, line=_line(node), path=path or None, suggestion=suggestion
        )

    def placed(self, error: ConfigError) -> ConfigError:
        line = self.lines.get(error.path or "")
        return ConfigError(
            error.problem,
            source=self.source,
            line=line,
            path=error.path,
            suggestion=error.suggestion,
        )


def _compose(text: str, source: str) -> Node | None:
    try:
        loader = _StrictLoader(text)
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"is not valid YAML: {error.reason}", source=source, line=line) from error
    try:
        root = loader.get_node() if loader.check_node() else None
        more = loader.check_node()
        second = loader.peek_event() if more else None  # type: ignore[no-untyped-call]  # not in the stubs of PyYAML
    except _RefusedError as error:
        raise ConfigError(str(error.problem), source=source, line=_mark_line(error)) from None
    except MarkedYAMLError as error:
        problem = f"is not valid YAML: {error.problem or error.context}"
        raise ConfigError(problem, source=source, line=_mark_line(error)) from error
    except (ValueError, OverflowError) as error:
        # The scanner of PyYAML reads numbers of any size as code points and versions.
        raise ConfigError(
            f"is not valid YAML: {error}", source=source, line=loader.line + 1
        ) from error
    if second is not None:
        raise ConfigError(
            "a second document begins here; keep only one",
            source=source,
            line=second.start_mark.line + 1,
        )
    return root


def _check_size(size: int, source: str) -> None:
    if size > MAX_DOCUMENT:
        raise ConfigError(
            f"is larger than {MAX_DOCUMENT} bytes, the limit for a document of settings",
            source=source,
        )


def _is_empty(node: Node) -> bool:
    return isinstance(node, ScalarNode) and not node.value and node.style is None


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _mark_line(error: MarkedYAMLError) -> int | None:
    return int(error.problem_mark.line) + 1 if error.problem_mark is not None else None
