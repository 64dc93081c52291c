"""Measures, prints and keeps tables: python -m tests.performance.bench [SECTION ...] [--runs N]

A section is a function from the number of runs to a table in Markdown; it is kept in results/<section>.md.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from tests.performance import cold

SECTIONS: dict[str, Callable[[int], str]] = {"cold": cold.table}
RESULTS = Path(__file__).with_name("results")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.performance.bench", description=__doc__)
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all by default"
    )
    parser.add_argument("--runs", type=int, default=15, metavar="N", help="runs for each figure (15)")
    arguments = parser.parse_args()
    if unknown := set(arguments.sections) - set(SECTIONS):
        parser.error(f"there is no section {', '.join(sorted(unknown))}; there are: {', '.join(SECTIONS)}")
    RESULTS.mkdir(exist_ok=True)
    for name in arguments.sections or SECTIONS:
        text = f"# {name}\n\n{_machine()}\n\n{SECTIONS[name](arguments.runs)}"
        (RESULTS / f"{name}.md").write_text(text, "utf-8")
        print(text)


def _machine() -> str:
    today = datetime.now(timezone.utc).date().isoformat()
    implementation = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{today}, {implementation}, {platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"


if __name__ == "__main__":
    main()
