"""Functions as SCF starts them: a fresh process for each first invocation, against real servers on the loopback.

PostgreSQL, COS and SCF's API are real protocols with checked signatures, so that a first invocation does, and
imports, all that it does in the cloud. Connections go without TLS.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from lib import settings
from lib.app import build
from tests import postgres
from tests.cos_server import CosServer
from tests.scf_api import ScfApi

ROOT = Path(__file__).parents[2]
VIDEO = ROOT / "tests/media/carphone.mp4"
KEY = "videos/carphone.mp4"
CONTEXT = {"request_id": "f03dc946-3df4-45a0-8e54-000000000000", "time_limit_in_ms": 900_000}

_FIRST_INVOCATION = """
import json, sys
from importlib import import_module
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
event, context = json.load(sys.stdin)
handler = import_module("handlers." + sys.argv[1]).main_handler
answer = handler(event, context) if event is not None else None
used = [getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)]
print(json.dumps([answer, sorted(sys.modules), sum(one.ru_utime + one.ru_stime for one in used)]))
"""

_IMPORT = """
import sys
exec(sys.argv[1])
from resource import RUSAGE_SELF, getrusage
used = getrusage(RUSAGE_SELF)
print([0, [], used.ru_utime + used.ru_stime])
"""


@dataclass(frozen=True)
class Invocation:
    answer: Any
    modules: frozenset[str]
    cpu: float  # seconds, user and system, until the answer is there: with its children, from the exec on
    process: float  # the same of the whole process, with its end, which a warm instance does not see


@dataclass(frozen=True)
class Case:
    """A first invocation: which function, and what it finds. `event` gives its event."""

    name: str
    function: str
    event: Callable[[Cloud, str], Any]


class Cloud:
    def __init__(self, postgres_server: str, cos: CosServer, scf: ScfApi) -> None:
        self._postgres = postgres_server
        self.cos = cos
        self.scf = scf
        scf.credentials = cos.credentials

    def first_invocation(self, case: Case, **variables: str) -> Invocation:
        """One cold start on a database of its own; `variables` are added to the environment."""
        with postgres.fresh_database(self._postgres) as url:
            event = case.event(self, url)
            return run(case.function, event, {**self.environment(url), **variables})

    def environment(self, database_url: str) -> dict[str, str]:
        keys = self.cos.credentials
        return {
            "TENCENTCLOUD_RUNENV": "SCF",
            "TENCENTCLOUD_SECRETID": keys.secret_id,
            "TENCENTCLOUD_SECRETKEY": keys.secret_key,
            "TENCENTCLOUD_SESSIONTOKEN": keys.token or "",
            "SCF_NAMESPACE": "default",
            "STORAGE": "cos",
            "BUCKET": self.cos.bucket,
            "REGION": self.cos.region,
            "COS_ENDPOINT": self.cos.endpoint,
            "SCF_ENDPOINT": self.scf.endpoint,
            "DATABASE_URL": database_url,
        }


@contextmanager
def running(postgres_server: str) -> Iterator[Cloud]:
    with CosServer() as cos, ScfApi() as scf:
        cos.store(KEY, VIDEO.read_bytes())
        yield Cloud(postgres_server, cos, scf)


def run(function: str, event: Any, environment: Mapping[str, str]) -> Invocation:
    """Imports the handler in a fresh process and calls it; `event` None only imports it."""
    return _run([_FIRST_INVOCATION, function], [event, CONTEXT], environment)


def run_import(statement: str, environment: Mapping[str, str]) -> Invocation:
    """One import in a fresh process; "" is an interpreter that only starts and ends."""
    return _run([_IMPORT, statement], [], environment)


def _run(program: list[str], given: list[Any], environment: Mapping[str, str]) -> Invocation:
    before = _children()
    with tempfile.TemporaryDirectory() as folder:  # no .env of the developer's
        done = subprocess.run(
            [sys.executable, "-c", *program],
            input=json.dumps(given),
            env={"PYTHONPATH": str(ROOT), "LANG": "en_US.UTF8", **environment},
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    answer, modules, cpu = json.loads(done.stdout.splitlines()[-1])
    return Invocation(answer, frozenset(modules), cpu, _children() - before)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _upload(cloud: Cloud, url: str) -> Any:
    event = json.loads((ROOT / "tests/events/cos/put.json").read_text("utf-8"))
    written = event["Records"][0]["cos"]["cosObject"]
    name, _, appid = cloud.cos.bucket.rpartition("-")
    stored = cloud.cos.objects[KEY]
    written.update(
        key=f"/{appid}/{name}/{KEY}", url="", size=len(stored.data), meta={"ETag": f'"{stored.etag}"'}
    )
    return event


def _known_upload(cloud: Cloud, url: str) -> Any:
    _open_task(cloud, url)
    return _upload(cloud, url)


def _open_task(cloud: Cloud, url: str) -> dict[str, str]:
    stored = cloud.cos.objects[KEY]
    opened = build(settings.load(cloud.environment(url))).tasks.open_upload(
        bucket=cloud.cos.bucket, key=KEY, etag=stored.etag, size=len(stored.data), definition=10, engine="own"
    )
    return {"task": opened.task.id}


def _new_task(cloud: Cloud, url: str) -> dict[str, str]:
    for key in [key for key in cloud.cos.objects if key != KEY]:
        del cloud.cos.objects[key]  # finished pictures would be used again
    return _open_task(cloud, url)


def _nothing_due(cloud: Cloud, url: str) -> Any:
    return json.loads((ROOT / "tests/events/timer.json").read_text("utf-8"))


def _task_due(cloud: Cloud, url: str) -> Any:
    _open_task(cloud, url)
    with psycopg.connect(url) as connection:
        connection.execute("update tasks set due_at = 0")
    return _nothing_due(cloud, url)


CASES = (
    Case("on_upload starts a task", "on_upload", _upload),
    Case("on_upload knows the task", "on_upload", _known_upload),
    Case("on_task captures", "on_task", _new_task),
    Case("on_timer has nothing to do", "on_timer", _nothing_due),
    Case("on_timer starts a task", "on_timer", _task_due),
)
