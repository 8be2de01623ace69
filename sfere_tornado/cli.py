"""The command line: ``python -m sfere_tornado describe module:hub``.

It looks at an application's hub without serving it: what can be dispatched, with which arguments, through which chain.
The module is imported, so a module that starts a server at import is not for it.
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

__all__ = ("CommandError", "describe", "load", "main")


class CommandError(SfereError, ValueError):
    """A command cannot be carried out as it was given; the text says what to write instead."""


def main(arguments: Sequence[str], out: TextIO | None = None) -> int:
    """Run one command.

    Args:
        arguments: those of the command line, without the program's name.
        out: where to write; by default the standard output.

    Returns:
        The exit code: 0, or 1 where nothing was found. A wrong command line exits with 2.
    """
    parser = argparse.ArgumentParser(
        prog="python -m sfere_tornado", description="Look at an application's hub."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    described = commands.add_parser(
        "describe",
        help="what can be dispatched, with which arguments, through which chain",
        description="Print the effects, actions and placeholders of a hub, and its chain of interceptors.",
    )
    described.add_argument(
        "hub", help="where it is, module:name; a hub, or a function that returns one"
    )
    described.add_argument(
        "name",
        nargs="?",
        help="of one effect, action or placeholder; or one of these words, for all",
    )
    described.add_argument(
        "--grep",
        metavar="TEXT",
        help="only what has this text in its name, description or arguments",
    )
    chosen = parser.parse_args(arguments)
    try:
        text = describe(load(chosen.hub), chosen.name, grep=chosen.grep)
    except CommandError as error:
        described.error(str(error))
    print(text or "nothing found", file=out or sys.stdout)
    return 0 if text else 1


def load(where: str) -> Dispatcher:
    """Return the dispatcher of the hub that is meant.

    Args:
        where: ``module:name``; the object is a hub, a dispatcher, or a function without arguments that returns one.

    Raises:
        CommandError: when there is no such thing; what the module itself raises on import is raised as it is.
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
            f"there is no module {error.name!r}; run this where the application is found"
        ) from error
    found = getattr(module, name, None)
    if found is None:
        known = [
            word
            for word, value in vars(module).items()
            if not word.startswith("_") and not isinstance(value, (type, ModuleType))
        ]
        raise CommandError(f"{module_name} has no {name!r}; {hint(name, known)}")
    made = found() if callable(found) else found
    dispatcher = made if isinstance(made, Dispatcher) else getattr(made, "dispatcher", None)
    if not isinstance(dispatcher, Dispatcher):
        raise CommandError(
            f"{where} is {type(made).__name__}; give a hub, or a function that returns one"
        )
    return dispatcher


def describe(dispatcher: Dispatcher, what: str | None = None, *, grep: str | None = None) -> str:
    """Return a description for people; empty when nothing was found.

    Args:
        dispatcher: whose.
        what: ``"effects"``, ``"actions"``, ``"placeholders"``, one name, or None for everything with chain and system.
        grep: only what has this text in it.

    Raises:
        CommandError: for an unknown name, with the nearest right one.
    """
    found = dispatcher.describe(what)
    if found is None:
        known = [one.name for one in dispatcher.grep("")]
        raise CommandError(f"nothing is registered as {what!r}; {hint(what, known)}")
    shown = found if isinstance(found, list) else [found]
    if grep is not None:
        matching = dispatcher.grep(grep)
        shown = [one for one in shown if one in matching]
    parts = [_item(one) for one in shown]
    if what is None and grep is None:
        parts += _around(dispatcher)
    return "\n\n".join(parts)


def _item(found: Description) -> str:
    lines = [f"{found.kind} {_signature(found)}    [{found.registry}]"]
    if found.description:
        lines.append(indent(found.description, "    "))
    lines += [f"    {_argument(one)}" for one in found.parameters or ()]
    if found.system_keys:
        lines.append(f"    needs in the system: {', '.join(found.system_keys)}")
    lines += [f"    {key}: {value}" for key, value in found.metadata.items()]
    return "\n".join(lines)


def _signature(found: Description) -> str:
    if found.parameters is None:
        return f"{found.name}(...)"
    written = [
        f"*{one.name}" if one.variadic else one.name + _default(one) for one in found.parameters
    ]
    return f"{found.name}({', '.join(written)})"


def _default(one: Parameter) -> str:
    return "" if one.required else f"={one.default!r}"


def _argument(one: Parameter) -> str:
    hint = "" if one.type is None else f" ({_type_name(one.type)})"
    text = f": {one.description}" if one.description else ""
    return f"{one.name}{hint}{text}"


def _type_name(hint: Any) -> str:
    return hint.__name__ if type(hint) is type else str(hint).removeprefix("typing.")


def _around(dispatcher: Dispatcher) -> list[str]:
    parts = []
    if dispatcher.system_schema:
        lines = [
            f"    {key}: {_type_name(value)}" for key, value in dispatcher.system_schema.items()
        ]
        parts.append("\n".join(["the system holds", *lines]))
    ids = [str(one.get("id")) for one in dispatcher.chain().interceptors]
    if ids:
        parts.append(f"the chain, outermost first: {', '.join(ids)}")
    return parts
