"""What the house is made of, read from its source: imports between files, sizes, names.

Run it for the table: ``python tests/support/house.py [PACKAGE [PACKAGE BEFORE]]``.
"""

import ast
import io
import sys
import tokenize
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

#: Files and folders of the package by floor, lowest first. A file imports from lower floors, and
#: from its own folder. The longest name that fits counts.
FLOORS = (
    ("defaults",),
    ("errors",),
    ("keys", "callbacks", "reasons"),
    ("wire", "dispatch", "config"),
    ("stores", "streams", "history", "presence"),
    ("presence.events",),
    ("presence.gathering",),
    ("presence.pager",),
    ("presence.announcer",),
    ("presence.feed",),
    ("effects",),
    ("presence.effects",),
    ("hub",),
    ("web",),
    ("datastar",),
    ("testing", "cli"),
    ("__main__",),
)
FLOOR_OF = {name: number for number, names in enumerate(FLOORS) for name in names}

#: Words that say something else in each place where they are used: no parameter, local or attribute
#: has one for a name.
BANNED = frozenset({"told", "held", "part", "given", "room"})

#: A local may be called so, next to the search that it is the result of.
BANNED_BUT_FOR_LOCALS = frozenset({"found"})

#: What stages may replace: nothing is decided by comparing it.
REPLACEABLE = frozenset({"actions", "effects"})


class Import(NamedTuple):
    """An import of one file from another, by their dotted names below the package."""

    importer: str
    imported: str

    def __str__(self):
        return f"{self.importer} -> {self.imported}"


class Size(NamedTuple):
    """A class or function: where it is, its lines of code."""

    name: str
    lines: int


class House:
    """A package, read from its files.

    Args:
        folder: of the package.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.trees, self.code_lines = {}, {}
        for path in sorted(self.folder.rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            name = ".".join(path.relative_to(self.folder).with_suffix("").parts)
            self.trees[name] = ast.parse(text)
            self.code_lines[name] = lines_of_code(text, self.trees[name])
        #: Folders have no code of their own: what is imported from one comes from a file in it.
        self.files = [name for name in self.trees if name.split(".")[-1] != "__init__"]

    def imports(self):
        """Return each import between two files; those for types, and in functions, included."""
        pairs = {
            Import(importer, imported)
            for importer in self.files
            for imported in self._imported_by(importer)
        }
        return sorted(pair for pair in pairs if pair.importer != pair.imported)

    def _imported_by(self, name):
        for base, names in self._statements(name):
            for each in names:
                found = self._source(base, each)
                if found is not None:
                    yield found

    def _statements(self, name):
        """Yield the base, as a tuple below the package, and the names of each import from it."""
        place = name.split(".")
        for node in ast.walk(self.trees[name]):
            if isinstance(node, ast.ImportFrom):
                base = node.module.split(".") if node.module else []
                if node.level:
                    yield (
                        (*place[: len(place) - node.level], *base),
                        [alias.name for alias in node.names],
                    )
                elif base and base[0] == self.folder.name:
                    yield tuple(base[1:]), [alias.name for alias in node.names]
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    parts = alias.name.split(".")
                    if parts[0] == self.folder.name:
                        yield tuple(parts[1:-1]), [parts[-1]]

    def _source(self, base, name):
        """Return the file that a name comes from, also through the ``__init__`` of folders."""
        whole = ".".join((*base, name))
        if whole in self.files:
            return whole
        if ".".join(base) in self.files:
            return ".".join(base)
        index = ".".join((*base, "__init__"))
        if index not in self.trees:
            return None
        for inner, names in self._statements(index):
            if name in names:
                return self._source(inner, name)
        return None

    def arrows_up(self):
        """Return the imports from a higher floor, or from another folder on the same one."""
        return [
            pair
            for pair in self.imports()
            if (own := place_of(pair.importer)) != (other := place_of(pair.imported))
            and FLOOR_OF[other] >= FLOOR_OF[own]
        ]

    def circles(self):
        """Return the imports that lie on a circle: from the imported file a way leads back."""
        leads = defaultdict(set)
        for pair in self.imports():
            leads[pair.importer].add(pair.imported)
        reach = {name: reached(leads, name) for name in self.files}
        return [pair for pair in self.imports() if pair.importer in reach[pair.imported]]

    def classes(self):
        """Yield the name and the node of each class, at any depth."""
        for name in self.files:
            for node in ast.walk(self.trees[name]):
                if isinstance(node, ast.ClassDef):
                    yield f"{name}.{node.name}", node

    def functions(self):
        """Yield the name and the node of each function and method, at any depth."""
        for name in self.files:
            for node in ast.walk(self.trees[name]):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield f"{name}.{node.name}", node

    def sizes(self, nodes):
        """Return classes or functions with their lines of code, the largest first."""
        sizes = [Size(name, self._lines(name, node)) for name, node in nodes]
        return sorted(sizes, key=lambda size: -size.lines)

    def _lines(self, name, node):
        lines = self.code_lines[name.rpartition(".")[0]]
        return sum(node.lineno <= line <= node.end_lineno for line in lines)

    def attributes(self):
        """Return the attributes of each class, those of its bases in the package included.

        Attributes are those in ``__slots__`` and those set on ``self``. Fields of dataclasses and
        named tuples are the settings and columns of a record; they are not counted.
        """
        own, bases = {}, {}
        for name, node in self.classes():
            own[name] = set(attributes_of(node))
            bases[name] = [base.id for base in node.bases if isinstance(base, ast.Name)]
        by_short = {name.rpartition(".")[2]: name for name in own}

        def whole(name):
            names = set(own[name])
            for base in bases[name]:
                if base in by_short and by_short[base] != name:
                    names |= whole(by_short[base])
            return names

        return {name: whole(name) for name in own}

    def public_names(self, class_name):
        """Return the public names of the classes of a name: methods, properties, attributes."""
        classes = dict(self.classes())
        by_short = {name.rpartition(".")[2]: name for name in classes}
        # A class may extend one of the same name.
        names, todo = set(), [name for name in classes if name.endswith(f".{class_name}")]
        while todo:
            node = classes[todo.pop()]
            names |= set(attributes_of(node))
            names |= {
                inner.name
                for inner in node.body
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)
            }
            todo += [
                by_short[base.id]
                for base in node.bases
                if isinstance(base, ast.Name) and base.id in by_short
            ]
        return sorted(name for name in names if not name.startswith("_"))

    def banned_names(self):
        """Return where a parameter, local or attribute has a banned name."""
        uses = set()
        for name in self.files:
            for node in ast.walk(self.trees[name]):
                uses |= {f"{name}: {used}" for used in BANNED.intersection(names_of(node))}
                uses |= {
                    f"{name}: {used}"
                    for used in BANNED_BUT_FOR_LOCALS.intersection(names_of(node))
                    if not isinstance(node, ast.Name)
                }
        return sorted(uses)


def comparisons(tree):
    """Return the lines that compare the effects of a dispatch, or match them.

    A look-up in a table of effects by name is a membership test, and none of them.
    """
    lines = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            compared = [node.left, *node.comparators]
            membership = isinstance(node.ops[0], ast.In | ast.NotIn)
        elif isinstance(node, ast.Match):
            compared, membership = [node.subject], False
        else:
            continue
        for side in compared:
            inner = side.value if isinstance(side, ast.Subscript) else side
            if (
                isinstance(inner, ast.Attribute)
                and inner.attr in REPLACEABLE
                and (not membership or is_context(inner.value))
            ):
                lines.add(node.lineno)
    return sorted(lines)


def is_context(node):
    """Whether an expression is a context, by its name."""
    return isinstance(node, ast.Name) and node.id in {"ctx", "context"}


def names_of(node):
    """Yield the names that a node gives to a parameter, a local or an attribute."""
    if isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        yield node.attr.lstrip("_")
    elif isinstance(node, ast.ClassDef):
        yield from (name.lstrip("_") for name in slots_of(node))


def place_of(name):
    """Return the entry of the table of floors that a file belongs to."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        if ".".join(parts[:length]) in FLOOR_OF:
            return ".".join(parts[:length])
    raise AssertionError(f"{name} has no floor; give it one in FLOORS")


def reached(leads, start):
    """Return everything that is reached from a start, the start included."""
    seen, todo = {start}, [start]
    while todo:
        new = leads[todo.pop()] - seen
        seen |= new
        todo += new
    return seen


def slots_of(node):
    """Yield the names in the ``__slots__`` of a class."""
    for statement in node.body:
        if isinstance(statement, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "__slots__"
            for target in statement.targets
        ):
            yield from (
                constant.value
                for constant in ast.walk(statement.value)
                if isinstance(constant, ast.Constant)
            )


def attributes_of(node):
    """Yield the attributes that a class gives to its instances."""
    # A place for weak references is no state.
    yield from (name for name in slots_of(node) if name != "__weakref__")
    for inner in ast.walk(node):
        if (
            isinstance(inner, ast.Attribute)
            and isinstance(inner.ctx, ast.Store)
            and isinstance(inner.value, ast.Name)
            and inner.value.id == "self"
        ):
            yield inner.attr


def lines_of_code(text, tree):
    """Return the numbers of the lines that have code: no comments, docstrings, or blank lines."""
    skipped = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in skipped:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            lines.difference_update(range(node.lineno, node.end_lineno + 1))
    return lines


def figures(house):
    """Return the rows of the table: what, and its figure."""
    classes, functions = house.sizes(house.classes()), house.sizes(house.functions())
    attributes = sorted(house.attributes().items(), key=lambda item: -len(item[1]))
    modules = sorted(((len(lines), name) for name, lines in house.code_lines.items()))
    return {
        "files": str(len(house.files)),
        "imports between files": str(len(house.imports())),
        "imports on a circle, also for types": str(len(house.circles())),
        "largest file, lines of code": f"{modules[-1][0]} ({modules[-1][1]})",
        "largest class, lines of code": f"{classes[0].lines} ({classes[0].name})",
        "classes above 200 lines": str(sum(size.lines > 200 for size in classes)),
        "largest function, lines of code": f"{functions[0].lines} ({functions[0].name})",
        "functions above 40 lines": str(sum(size.lines > 40 for size in functions)),
        "most attributes": f"{len(attributes[0][1])} ({attributes[0][0]})",
        "classes above 12 attributes": str(sum(len(names) > 12 for _, names in attributes)),
        "public names of Hub": str(len(house.public_names("Hub"))),
        "public names of Connection": str(len(house.public_names("Connection"))),
        "uses of banned names": str(len(house.banned_names())),
    }


def main(now, before=None):
    """Print the table."""
    rows = figures(House(now))
    older = figures(House(before)) if before else {}
    print("| what | before | after |\n|---|---|---|")
    for name, figure in rows.items():
        print(f"| {name} | {older.get(name, '')} | {figure} |")


if __name__ == "__main__":
    package = Path(__file__).parents[2] / "sfere_tornado"
    main(*(sys.argv[1:] or [package]))
