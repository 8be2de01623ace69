#!/usr/bin/env python3
"""Set the project up and run it: ``python3 run.py demo``, ``python3 run.py test``.

The first call makes a virtual environment in ``.venv`` and installs the project into it. Later
calls only run, without any network, until ``setup.py`` or ``pyproject.toml`` changes. Needs only
Python 3.11 or newer. The environment variable ``SFERE_VENV`` names another folder than ``.venv``,
so that several versions of Python can each have their own.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).resolve().parent
VENV = HERE / os.environ.get("SFERE_VENV", ".venv")
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
OLDEST_PYTHON = (3, 11)

#: What "fast" leaves out: minutes of waiting, and what only one version of Python need run.
SLOW = ("browser", "scenarios", "test_benchmarks.py", "test_run.py")

#: What each command runs inside the environment, and which extra of setup.py it needs; the
#: arguments of the call follow.
COMMANDS = {
    "demo": (
        "the lobby: a chat in your browser (--port N, --help)",
        "demo",
        ["examples/lobby/app.py"],
    ),
    "test": (
        "the tests (any argument of pytest, such as -k lobby)",
        "test",
        ["-bb", "-m", "pytest"],
    ),
    "fast": (
        "the tests that start no browser, no scenario, no benchmark and no other run.py",
        "test",
        ["-bb", "-m", "pytest", *(f"--ignore=tests/{name}" for name in SLOW)],
    ),
    "coverage": (
        "the tests, then how much of the package they cover",
        "test",
        ["-bb", "-m", "coverage", "run", "-m", "pytest"],
    ),
    "lint": ("ruff: rules and format", "lint", ["-m", "ruff", "check", "."]),
    "types": ("mypy, strict; pyright, completeness", "lint", ["-m", "mypy"]),
    "docs": (
        "the documentation, into docs/_build/html",
        "docs",
        ["-m", "sphinx", "-W", "-n", "docs", "docs/_build/html"],
    ),
    "sdist": (
        "build the source distribution, and run fast tests from it",
        "test",
        [".ci/sdist.py"],
    ),
    "changelog": (
        "put the fragments of changelog.d into CHANGELOG.rst",
        "demo",
        [".ci/changelog.py"],
    ),
    "bench": ("the benchmarks: tables of ratios (all, or --help)", "bench", ["-m", "benchmarks"]),
}
#: What follows a command that went well.
AFTERWARDS = {
    "coverage": ["-m", "coverage", "report"],
    "lint": ["-m", "ruff", "format", "--check", "."],
    "types": [".ci/completeness.py"],
}


def main(arguments: list[str]) -> int:
    """Run one command; returns the exit code."""
    listing = "\n".join(f"  {name:10} {text}" for name, (text, _, _) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="run.py",
        description=f"Set up once, then run.\n\n{listing}",
        epilog="Further arguments are passed on: run.py demo --port 9000",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...")
    chosen = parser.parse_args(arguments)
    if sys.version_info < OLDEST_PYTHON:
        print(
            f"run.py: Python {sys.version.split()[0]} is too old; 3.11 or newer is needed",
            file=sys.stderr,
        )
        return 1
    _, extra, command = COMMANDS[chosen.command]
    if not set_up(extra):
        return 1
    if chosen.command not in AFTERWARDS and os.name != "nt":
        become(command + chosen.arguments)
    code = run(command + chosen.arguments)
    if code == 0 and chosen.command in AFTERWARDS:
        code = run(AFTERWARDS[chosen.command])
    return code


def become(command: list[str]) -> NoReturn:
    """Become Python in the environment with these arguments: a signal then reaches the command."""
    os.chdir(HERE)
    os.execv(PYTHON, [str(PYTHON), *command])


def run(command: list[str]) -> int:
    """Run Python in the environment with these arguments; leave an interrupt to the command."""
    process = subprocess.Popen([PYTHON, *command], cwd=HERE)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def set_up(extra: str) -> bool:
    """Make the environment and install what is missing; returns whether it can be used."""
    if not PYTHON.exists() and not make_environment():
        return False
    stamp = VENV / f"installed-{extra}"
    wanted = hashlib.sha256(
        b"".join((HERE / name).read_bytes() for name in ("setup.py", "pyproject.toml"))
    ).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return True
    print(f"run.py: installing (once; {extra}) ...", file=sys.stderr, flush=True)
    install = [
        PYTHON,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--editable",
        f".[{extra}]",
    ]
    if subprocess.run(install, cwd=HERE, check=False).returncode != 0:
        print(
            "run.py: pip could not install; see above. Is there a network for the first run?",
            file=sys.stderr,
        )
        return False
    stamp.write_text(wanted)
    return True


def make_environment() -> bool:
    """Make the virtual environment; returns whether that worked."""
    print(f"run.py: making a virtual environment in {VENV.name} ...", file=sys.stderr, flush=True)
    made = subprocess.run(
        [sys.executable, "-m", "venv", VENV], check=False, capture_output=True, text=True
    )
    if made.returncode == 0:
        return True
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    print(
        made.stdout
        + made.stderr
        + "\nrun.py: Python could not make a virtual environment. On Debian and Ubuntu install\n"
        f"    sudo apt install python3-venv      (or python{version}-venv)\nand run this again.",
        file=sys.stderr,
    )
    # The next call would take half an environment for a whole one.
    PYTHON.unlink(missing_ok=True)
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
