"""What a user waits for when no instance is warm: CPU of the first invocation of each function.

With bytecode everything imported has its .pyc, as the deployed package ships it. Without, only the standard
library has: SCF sets PYTHONDONTWRITEBYTECODE, so code that comes without .pyc is compiled at every cold start.
"""

from __future__ import annotations

import shutil
import sysconfig
import tempfile
from pathlib import Path
from statistics import median

from tests import postgres
from tests.performance import cloud
from tests.performance.cloud import CASES, ROOT, Cloud, Invocation

KINDS = ("with", "without")
BARE = "a bare interpreter"
LIBRARIES = {
    BARE: "",
    "pydantic alone": "from pydantic import BaseModel",
    "psycopg alone": "import psycopg",
    "the SDK's CommonClient alone": "from tencentcloud.common.common_client import CommonClient",
    "urllib3 alone": "import urllib3",
    "av alone": "import av",
    "Pillow alone": "import PIL.Image",
}
"""To compare machines by, and to see what a first invocation is made of (they share parts of the library)."""


def table(runs: int) -> str:
    """Medians of `runs` first invocations, in rounds, so that a busy moment of the machine hits all alike."""
    with (
        postgres.running() as server,
        cloud.running(server) as functions,
        tempfile.TemporaryDirectory() as folder,
    ):
        caches = _caches(functions, Path(folder))
        taken: dict[tuple[str, str], list[Invocation]] = {}
        for _ in range(runs):
            for kind, cache in caches.items():
                python = {"PYTHONDONTWRITEBYTECODE": "x", "PYTHONPYCACHEPREFIX": str(cache)}
                for name, statement in LIBRARIES.items():
                    taken.setdefault((name, kind), []).append(cloud.run_import(statement, python))
                for case in CASES:
                    invocation = functions.first_invocation(case, **python)
                    taken.setdefault((case.name, kind), []).append(invocation)
    return _markdown(taken, runs)


def _caches(functions: Cloud, folder: Path) -> dict[str, Path]:
    """A cache of bytecode for everything, and one for the standard library alone."""
    everything, standard = folder / "with", folder / "without"
    for case in CASES:
        functions.first_invocation(case, PYTHONPYCACHEPREFIX=str(everything))
    shutil.copytree(everything, standard)
    for installed in {ROOT, *map(Path, (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))}:
        shutil.rmtree(standard / installed.relative_to(installed.anchor), ignore_errors=True)
    return dict(zip(KINDS, (everything, standard), strict=True))


def _markdown(taken: dict[tuple[str, str], list[Invocation]], runs: int) -> str:
    lines = [
        "CPU milliseconds (user and system) of the first invocation in a fresh process, lazy imports included, with "
        "PostgreSQL, COS and SCF's API on the loopback without TLS.",
        f"*answer*: medians of {runs} until the answer is there, less {BARE}; (lowest). *process*: the whole "
        "process, with interpreter and exit. on_task includes the capture of a short video.",
        "",
        "| | answer, with bytecode | process | answer, without bytecode | process | without / with |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name in (*(case.name for case in CASES), *LIBRARIES):
        cells, answers = [], []
        for kind in KINDS:
            bare = median(one.cpu for one in taken[BARE, kind]) if name != BARE else 0.0
            cpu = [one.cpu - bare for one in taken[name, kind]]
            process = median(one.process for one in taken[name, kind])
            answers.append(median(cpu))
            cells += [f"{1000 * median(cpu):.0f} ({1000 * min(cpu):.0f})", f"{1000 * process:.0f}"]
        lines.append(f"| {name} | {' | '.join(cells)} | {answers[1] / answers[0]:.1f} |")
    return "\n".join(lines) + "\n"
