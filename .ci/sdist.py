"""Build the source distribution, unpack it, and run fast tests from it.

Everything that is tracked must be in it, and the tests must pass without the checkout. Needs no
network: the build runs in the present environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]

#: Written by the build and not tracked.
BUILT = ("PKG-INFO", "setup.cfg", "sfere_tornado.egg-info")

#: Fast tests that read files of every folder: package, docs, examples, tests.
SUBSET = (
    "tests/config",
    "tests/wire",
    "tests/stores",
    "tests/test_architecture.py",
    "tests/test_docs.py",
    "tests/test_errors.py",
    "tests/test_packaging.py",
)


def build(folder: Path) -> Path:
    """Build the source distribution in a folder; returns the file.

    The build reads a copy of the tracked files. What lies about in the checkout cannot get in, and
    an old list of files in ``sfere_tornado.egg-info`` cannot hide what MANIFEST.in forgets.
    """
    copy = folder / "copy"
    for name in tracked():
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "setup.py", "--quiet", "sdist", "--dist-dir", str(folder)]
    subprocess.run(command, cwd=copy, check=True)
    (archive,) = folder.glob("*.tar.gz")
    return archive


def tracked() -> set[str]:
    """Return the tracked files that exist, by their path in the project."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return {name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}


def unpack(archive: Path, folder: Path) -> tuple[Path, set[str]]:
    """Unpack a source distribution; returns its folder, and the paths of its files in it."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    top = folder / archive.name.removesuffix(".tar.gz")
    names = {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()}
    return top, {name for name in names if name.split("/")[0] not in BUILT}


def main(arguments: list[str]) -> int:
    """Check the source distribution; arguments are those of pytest. Returns the exit code."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        top, names = unpack(build(folder), folder)
        missing = sorted(tracked() - names)
        if missing:
            print("sdist: add to MANIFEST.in:", *missing, sep="\n    ", file=sys.stderr)
            return 1
        print(f"sdist: {len(names)} files; running fast tests from it")
        tests = arguments or ["-q", *SUBSET]
        command = [sys.executable, "-bb", "-m", "pytest", "-p", "no:cacheprovider", *tests]
        environment = {**os.environ, "PYTHONPATH": str(top)}
        return subprocess.run(command, cwd=top, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
