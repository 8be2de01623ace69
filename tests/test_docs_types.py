"""The Python blocks of README and docs are typed as users are told to type: mypy, strict.

Each block becomes a module of its own, as a page may define ``Events`` twice. It imports the names
that it uses and does not define from the last block before it that has them.
"""

import ast
import builtins
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.rst", *sorted(ROOT.glob("docs/**/*.rst"))]

BLOCK = re.compile(
    r"^( *)\.\. (?:invisible-)?code(?:-block)?::? *python\n(?:\1 +:.*\n)*\n((?:(?:\1 +.*)?\n)+)",
    re.MULTILINE,
)

#: What the test of the pages puts into the namespace of each page; see tests/test_docs.py.
GIVEN = """
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from tornado.web import Application
from sfere_tornado.testing import StreamClient as StreamClient

def talk(app: Application, conversation: Callable[[str], Awaitable[None]]) -> None: ...
async def post(
    url: str, headers: Mapping[str, str] | Iterable[tuple[str, str]] = ..., **form: str
) -> tuple[int, str]: ...
def unlogged(*names: str) -> AbstractContextManager[list[str]]: ...
async def eventually(condition: Callable[[], object], *, patience: float = ...) -> None: ...
"""
GIVEN_NAMES = {"StreamClient", "talk", "post", "unlogged", "eventually"}


def blocks_of(page):
    """Return the Python blocks of a page, each with the number of its first line."""
    text = page.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, match.start(2)) + 1, textwrap.dedent(match[2]).strip("\n") + "\n")
        for match in BLOCK.finditer(text)
    ]


def names_of(tree):
    """Return the names that a block defines at its top level, and those that it uses."""
    defined = set()
    for node in tree.body:
        for inner in ast.walk(node):
            if isinstance(inner, ast.alias):
                defined.add((inner.asname or inner.name).split(".")[0])
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            defined.add(node.name)
        else:
            defined |= stored(node)
    used = {inner.id for inner in ast.walk(tree) if isinstance(inner, ast.Name)}
    return defined, used - stored(tree) - defined


def stored(tree):
    """Return the variables that are assigned anywhere, also within functions."""
    return {
        inner.id
        for inner in ast.walk(tree)
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)
    }


def write_modules(page, folder):
    """Write the blocks of a page as modules; returns the page, by their names."""
    blocks = blocks_of(page)
    stem = re.sub(r"\W", "_", str(page.relative_to(ROOT).with_suffix("")))
    parsed = [(f"{stem}_line_{line}", text, *names_of(ast.parse(text))) for line, text in blocks]
    defined_in = dict.fromkeys(GIVEN_NAMES, "given")
    anywhere = {name for _, _, defined, _ in parsed for name in defined}
    modules = {}
    for module, text, defined, used in parsed:
        missing = sorted(used - set(dir(builtins)))
        imports = [
            f"from {defined_in[name]} import {name}\n" for name in missing if name in defined_in
        ]
        # A function may use what only a later block defines. Imports in a circle are more than mypy
        # can infer types through, so such a name is not checked here.
        after = [name for name in missing if name in anywhere and name not in defined_in]
        if after:
            imports += ["import typing\n", *(f"{name}: typing.Any\n" for name in after)]
        folder.joinpath(f"{module}.py").write_text("".join(imports) + text, encoding="utf-8")
        defined_in |= dict.fromkeys(defined, module)
        modules[module] = page
    return modules


@pytest.fixture(scope="module")
def complaints(tmp_path_factory):
    """What mypy says of the blocks of each page; one run for all of them."""
    folder = tmp_path_factory.mktemp("blocks")
    folder.joinpath("given.pyi").write_text(GIVEN)
    modules = {}
    for page in PAGES:
        if "_build" not in page.parts:
            modules |= write_modules(page, folder)
    assert len(modules) > 100
    # Names come from other blocks, also those that these import.
    command = [sys.executable, "-m", "mypy", "--strict", "--implicit-reexport", "--config-file="]
    command += ["--no-error-summary", "--cache-dir", str(folder / "cache"), "."]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    lines = [line for line in done.stdout.splitlines() if ": error:" in line]
    by_page = {page: [] for page in modules.values()}
    for line in lines:
        by_page[modules[line.split(".py:")[0]]].append(line)
    return by_page


def pages():
    for page in PAGES:
        if "_build" not in page.parts and blocks_of(page):
            yield pytest.param(page, id=str(page.relative_to(ROOT)))


@pytest.mark.parametrize("page", list(pages()))
def test_every_block_is_typed(page, complaints):
    """The blocks of a page pass ``mypy --strict``; a module is named by its line."""
    assert complaints[page] == []
