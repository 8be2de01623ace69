"""How the documentation is built: ``python3 run.py docs``.

The docstrings have sections of their own shape (``Args:``, ``Returns:``, ``Raises:``), which no extension reads as they
are meant: types never stand in them, and a colon in a sentence is a colon. So the reading of them is here.
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
nitpick_ignore_regex = [
    # Documented elsewhere, and the build needs no network.
    ("py:.*", r"(abc|asyncio|collections|concurrent|enum|http|os|re|ssl|tornado|types|typing)\..*"),
    ("py:.*", "_asyncio.*|Application|HTTPError|IOStream|ThreadFuture|TimerHandle"),
    ("py:.*", r"Future|Task|Revalidate|HTTPServerRequest|StreamClosedError|logging\.Logger"),
    # Type variables, and aliases of types: what they stand for is said where they are used.
    ("py:.*", r"(.*\.)?(C|F|R|Self|_Parts)"),
    (
        "py:class",
        "Callback|Cause|Explanation|Expiry|Mode|Namespace|Preview|Handlers|Interceptor|Kind|OnFull|Reason|SameKey|Source|Spawn|Stages|Steps|frozenset.*Literal.*",
    ),
    # For whoever writes a store on top of ours; not public.
    ("py:meth", "MemoryStore._put"),
    # Constants that are said where they are used.
    ("py:data", "MODES|NAMESPACES|DEFAULT_RETRY|rules.MAX_METAS"),
]

#: The fields that the sections of a docstring become; of the first and the last each entry has one of its own.
SECTIONS = {"Args:": "param", "Returns:": "returns", "Raises:": "raises"}


def read_sections(
    app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    """Turn the sections of a docstring into field lists."""
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
    """Resolve a reference that gives only the end of a name, or its public place instead of its room."""
    if node.get("refdomain") != "py":
        return None
    domain = env.domains.python_domain
    target: str = node["reftarget"]
    ending = "." + (target.rpartition(".")[2] if target.startswith("sfere_tornado.") else target)
    found = [name for name in domain.objects if name.endswith(ending)]
    if len(found) > 1:
        # A method that several classes have: the one of the same package, at its root.
        package = (node.get("py:module") or "").rpartition(".")[0] + "."
        found = sorted((name for name in found if name.startswith(package)), key=len)[:1]
    return (
        domain.resolve_xref(env, node["refdoc"], app.builder, "obj", found[0], node, content)
        if found
        else None
    )


def skip_aliases(
    app: Sphinx, what: str, name: str, thing: object, skip: bool, options: object
) -> bool | None:
    """Leave out the fields of named tuples that say only that they are fields."""
    return (
        True if (getattr(thing, "__doc__", "") or "").startswith("Alias for field number") else None
    )


def setup(app: Sphinx) -> None:
    """Connect the above."""
    app.connect("autodoc-process-docstring", read_sections)
    app.connect("missing-reference", find_by_last_name)
    app.connect("autodoc-skip-member", skip_aliases)
