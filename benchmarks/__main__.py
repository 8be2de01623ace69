"""The front of the benchmarks: ``python -m benchmarks store``."""

from __future__ import annotations

import argparse
import importlib
import sys

#: Each is a module beside this one, with ``main(arguments)``.
BENCHMARKS = {
    "store": "purging a connection and finding ten of them, with 100 to 100,000 stored",
}


def main(arguments: list[str]) -> int:
    """Run one benchmark; returns the exit code."""
    listing = "\n".join(f"  {name:10} {text}" for name, text in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"Measure, and print a table.\n\n{listing}",
        epilog="Times differ by machine and hour: compare ratios. For its arguments: python -m benchmarks store --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("benchmark", choices=BENCHMARKS, metavar="BENCHMARK")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...")
    chosen = parser.parse_args(arguments)
    module = importlib.import_module(f"benchmarks.{chosen.benchmark}")
    code: int = module.main(chosen.arguments)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
