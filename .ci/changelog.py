"""Put the fragments of ``changelog.d`` into ``CHANGELOG.rst``, under the newest version."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from textwrap import indent

ROOT = Path(__file__).resolve().parents[1]

#: Kinds of fragments, and the heading of each, in the order of the changelog.
KINDS = {"change": "Changed", "new": "Added", "fix": "Fixed", "removal": "Removed"}


def kind_of(path: Path) -> str | None:
    """Return the kind of a fragment, ``NAME.KIND.rst``; None when the name has another shape."""
    pieces = path.name.split(".")
    return pieces[1] if len(pieces) == 3 and pieces[1] in KINDS else None


def fragments(folder: Path) -> list[Path]:
    """Return the fragments in a folder, by name."""
    return sorted(path for path in folder.glob("*.rst") if path.name != "README.rst")


def wrong(folder: Path) -> list[str]:
    """Return the names of fragments that are not valid."""
    return [path.name for path in fragments(folder) if kind_of(path) is None]


def section(paths: list[Path]) -> str:
    """Return the fragments as reStructuredText: a heading for each kind, an item for each file."""
    text = ""
    for kind, heading in KINDS.items():
        items = [
            path.read_text(encoding="utf-8").strip() for path in paths if kind_of(path) == kind
        ]
        if items:
            text += f"\n{heading}\n{'^' * len(heading)}\n\n"
            text += "".join(f"- {indent(item, '  ').strip()}\n" for item in items)
    return text


def main(arguments: list[str]) -> int:
    """Write the changelog and remove the fragments; returns the exit code.

    Args:
        arguments: the folder of the project; this one by default.
    """
    root = Path(arguments[0]) if arguments else ROOT
    folder, changelog = root / "changelog.d", root / "CHANGELOG.rst"
    refused = wrong(folder)
    if refused:
        kinds = ", ".join(f"NAME.{kind}.rst" for kind in KINDS)
        print(f"changelog: rename {', '.join(refused)} to one of {kinds}", file=sys.stderr)
        return 1
    paths = fragments(folder)
    text = changelog.read_text(encoding="utf-8")
    versions = list(re.finditer(r"^\d+\.\d+\.\d+.*\n-+\n", text, re.MULTILINE))
    if not versions:
        print("changelog: CHANGELOG.rst has no version, such as 0.1.0; add it", file=sys.stderr)
        return 1
    end = versions[1].start() if len(versions) > 1 else len(text)
    before, after = text[:end].rstrip("\n") + "\n", text[end:]
    changelog.write_text(
        before + section(paths) + ("\n" + after if after else ""), encoding="utf-8"
    )
    for path in paths:
        path.unlink()
    print(f"changelog: {len(paths)} fragments are now in CHANGELOG.rst")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
