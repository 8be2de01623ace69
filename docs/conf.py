"""How the documentation is built: ``python3 run.py docs``.

The docstrings have sections ``Args:``, ``Returns:`` and ``Raises:`` without types, and their
sentences may contain colons. No extension reads them that way, so :func:`read_sections` does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import sfere_tornado

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docutils.nodes import Element
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "sfere_tornado"
author = "the sfere_tornado developers"
copyright = "2026, the sfere_tornado developers"
release = version = sfere_tornado.__version__

extensions = ["sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"sfere_tornado {release}"
highlight_language = "none"

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88

nitpicky = True
# Annotations name a class by its last component, and two modules may have a class of that name.
suppress_warnings = ["ref.python"]
nitpick_ignore_regex = [
    # Documented by other projects; the build uses no network.
    ("py:.*", r"(abc|asyncio|collections|concurrent|enum|http|os|re|ssl|tornado|types|typing)\..*"),
    (
        "py:.*",
        "_asyncio.*|deque|Application|HTTPHeaders|HTTPError|IOStream|ThreadFuture|TimerHandle",
    ),
    (
        "py:.*",
        r"Future|Task|Revalidate|HTTPServerRequest|RequestHandler|StreamClosedError|logging\.Logger",
    ),
    # Type variables and aliases of types: the text explains them where they are used.
    ("py:.*", r"(.*\.)?(C|F|R|Self|_Parts)"),
    (
        "py:class",
        "Callback|Cause|EntryKind|Explanation|Expiry|Mode|Namespace|Preview|Handlers|Interceptor",
    ),
    (
        "py:class",
        "ChangeKind|DepartureReason|Kind|OnFull|Reason|SameKey|Source|Spawn|Stages|Steps",
    ),
    (
        "py:class",
        "frozenset.*Literal.*",
    ),
    # Only for subclasses of the stores; not public.
    ("py:meth", "MemoryStore._put"),
    # Constants: the text gives their values where they are used.
    ("py:data", "MODES|NAMESPACES|DEFAULT_RETRY|rules.MAX_METAS"),
]

#: The field that each section becomes. In ``Args:`` and ``Raises:``, each entry becomes a field.
SECTIONS = {"Args:": "param", "Returns:": "returns", "Raises:": "raises"}


def read_sections(
    app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    """Replace the sections of a docstring with field lists."""
    lines[:] = list(_fields(lines))


def _fields(lines: list[str]) -> Iterator[str]:
    field = ""
    for line in lines:
        if line in SECTIONS:
            field = SECTIONS[line]
            yield ""
            if field == "returns":
                yield ":returns:"
        elif line and not line.startswith(" "):
            field = ""
            yield line
        elif field in {"param", "raises"} and re.match(r"    \S", line):
            entry, _, text = line.strip().partition(": ")
            yield f":{field} {entry}: {text}"
        else:
            yield line


def find_by_last_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: Element
) -> Any:
    """Resolve a reference by the last component of its name.

    So a docstring may write ``:class:`Hub```, or the public name instead of the module's.
    """
    if node.get("refdomain") != "py":
        return None
    domain = env.domains.python_domain
    target: str = node["reftarget"]
    ending = "." + (target.rpartition(".")[2] if target.startswith("sfere_tornado.") else target)
    names = [name for name in domain.objects if name.endswith(ending)]
    if len(names) > 1:
        # Several classes have this method: take the one nearest to the root of the same package.
        package = (node.get("py:module") or "").rpartition(".")[0] + "."
        names = sorted((name for name in names if name.startswith(package)), key=len)[:1]
    return (
        domain.resolve_xref(env, node["refdoc"], app.builder, "obj", names[0], node, content)
        if names
        else None
    )


def skip_aliases(
    app: Sphinx, what: str, name: str, thing: object, skip: bool, options: object
) -> bool | None:
    """Skip the fields of named tuples that have no text of their own."""
    return (
        True if (getattr(thing, "__doc__", "") or "").startswith("Alias for field number") else None
    )


def setup(app: Sphinx) -> None:
    """Connect the functions above to autodoc and to the resolution of references."""
    app.connect("autodoc-process-docstring", read_sections)
    app.connect("missing-reference", find_by_last_name)
    app.connect("autodoc-skip-member", skip_aliases)
