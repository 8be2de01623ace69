"""Check that the types of the public names are complete, as users of the library see them.

pyright counts the public names, arguments and attributes whose type is written down and whole. mypy
does not: it infers what is not written, and another type checker may infer something else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parents[1]

#: The least share of complete types, in percent.
LEAST: Final = 99.0


def main() -> int:
    """Print what is incomplete, and the share; returns the exit code."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--ignoreexternal"]
    command += ["--pythonpath", sys.executable, "--verifytypes", "sfere_tornado"]
    # An editable install is an import hook, which pyright does not follow.
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    try:
        report = json.loads(done.stdout)["typeCompleteness"]
    except (ValueError, KeyError):
        print(f"completeness: pyright failed\n{done.stdout}{done.stderr}", file=sys.stderr)
        return 1
    for symbol in report["symbols"]:
        if symbol["isExported"] and (not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]):
            problems = {problem["message"].splitlines()[0] for problem in symbol["diagnostics"]}
            print(f"{symbol['name']}: {'; '.join(sorted(problems))}")
    score = 100 * report["completenessScore"]
    print(f"types are complete for {score:.1f} % of the public names (at least {LEAST:g} %)")
    return 0 if score >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
