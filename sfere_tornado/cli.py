"""The command line: ``python -m sfere_tornado describe module:hub``.

It shows an application's hub without serving it: what can be dispatched, with which arguments, and
through which chain. The module is imported, so importing it must not start a server.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from textwrap import indent
from types import ModuleType
from typing import TYPE_CHECKING, Any, TextIO

from .dispatch import Dispatcher
from .errors import SfereError, hint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .dispatch import Description, Parameter

__all__ = ("CommandError", "describe_text", "load_dispatcher", "main")


class CommandError(SfereError, ValueError):
    """A command cannot be carried out; the text says what to write instead."""


def main(arguments: Sequence[str], out: TextIO | None = None) -> int:
    """Run one command.

    Args:
        arguments: those of the command line, without the program's name.
        out: where to write; by default the standard output.

    Returns:
        The exit code: 0, or 1 when nothing matches. A wrong command line exits with 2.
    """
    parser, describing = _parsers()
    chosen = parser.parse_args(arguments)
    try:
        text = describe_text(load_dispatcher(chosen.hub), chosen.name, grep=chosen.grep)
    except CommandError as error:
        describing.error(str(error))
    print(text or "nothing found", file=out or sys.stdout)
    return 0 if text else 1


def _parsers() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """Return the parser of the command line, and that of ``describe``, which reports its errors."""
    parser = argparse.ArgumentParser(
        prog="python -m sfere_tornado", description="Look at an application's hub."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    describing = commands.add_parser(
        "describe",
        help="what can be dispatched, with which arguments, through which chain",
        description="Print the effects, actions and placeholders of a hub, and its interceptors.",
    )
    describing.add_argument(
        "hub", help="where it is, as module:name; a hub, or a function that returns one"
    )
    describing.add_argument(
        "name",
        nargs="?",
        help="an effect, action or placeholder; or effects, actions or placeholders, for all",
    )
    describing.add_argument(
        "--grep",
        metavar="TEXT",
        help="only those with this text in their name, description or arguments",
    )
    return parser, describing


def load_dispatcher(where: str) -> Dispatcher:
    """Return the dispatcher of a hub.

    Args:
        where: ``module:name``; the object is a hub, a dispatcher, or a function without arguments
            that returns one.

    Raises:
        CommandError: when there is no such object. An error of the module itself, when it is
            imported, is raised as it is.
    """
    module_name, colon, name = where.partition(":")
    if not colon or not module_name or not name:
        raise CommandError(
            f"{where!r} does not say where the hub is; write module:name, such as myapp.web:hub"
        )
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise CommandError(
            f"there is no module {error.name!r}; run this in the folder of the application"
        ) from error
    value = getattr(module, name, None)
    if value is None:
        raise CommandError(f"{module_name} has no {name!r}; {hint(name, _candidates(module))}")
    made = value() if callable(value) else value
    dispatcher = made if isinstance(made, Dispatcher) else getattr(made, "dispatcher", None)
    if not isinstance(dispatcher, Dispatcher):
        raise CommandError(
            f"{where} is {type(made).__name__}; name a hub, or a function that returns one"
        )
    return dispatcher


def _candidates(module: ModuleType) -> list[str]:
    """Return the names in a module that may be a hub, or a function that returns one."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, (type, ModuleType))
    ]


def describe_text(
    dispatcher: Dispatcher, what: str | None = None, *, grep: str | None = None
) -> str:
    """Return a description as text; empty when nothing matches.

    Args:
        dispatcher: the one to describe.
        what: ``"effects"``, ``"actions"``, ``"placeholders"``, one name, or None for everything,
            with chain and system.
        grep: only what has this text in it.

    Raises:
        CommandError: for an unknown name, with the nearest right one.
    """
    described = dispatcher.describe(what)
    if described is None:
        known = [each.name for each in dispatcher.grep("")]
        raise CommandError(f"nothing is registered as {what!r}; {hint(what, known)}")
    shown = described if isinstance(described, list) else [described]
    if grep is not None:
        matching = dispatcher.grep(grep)
        shown = [each for each in shown if each in matching]
    paragraphs = [_item(each) for each in shown]
    if what is None and grep is None:
        paragraphs += _around(dispatcher)
    return "\n\n".join(paragraphs)


def _item(described: Description) -> str:
    lines = [f"{described.kind} {_signature(described)}    [{described.registry}]"]
    if described.description:
        lines.append(indent(described.description, "    "))
    lines += [f"    {_argument(each)}" for each in described.parameters or ()]
    if described.system_keys:
        lines.append(f"    needs in the system: {', '.join(described.system_keys)}")
    lines += [f"    {key}: {value}" for key, value in described.metadata.items()]
    return "\n".join(lines)


def _signature(described: Description) -> str:
    if described.parameters is None:
        return f"{described.name}(...)"
    written = [
        f"*{each.name}" if each.variadic else each.name + _default(each)
        for each in described.parameters
    ]
    return f"{described.name}({', '.join(written)})"


def _default(parameter: Parameter) -> str:
    return "" if parameter.required else f"={parameter.default!r}"


def _argument(parameter: Parameter) -> str:
    annotation = "" if parameter.type is None else f" ({_type_name(parameter.type)})"
    text = f": {parameter.description}" if parameter.description else ""
    return f"{parameter.name}{annotation}{text}"


def _type_name(annotation: Any) -> str:
    return (
        annotation.__name__ if type(annotation) is type else str(annotation).removeprefix("typing.")
    )


def _around(dispatcher: Dispatcher) -> list[str]:
    """Return what surrounds every dispatch: the system, and the chain."""
    paragraphs = []
    if dispatcher.system_schema:
        lines = [
            f"    {key}: {_type_name(value)}" for key, value in dispatcher.system_schema.items()
        ]
        paragraphs.append("\n".join(["the system holds", *lines]))
    ids = [str(each.get("id")) for each in dispatcher.chain().interceptors]
    if ids:
        paragraphs.append(f"the chain, outermost first: {', '.join(ids)}")
    return paragraphs
