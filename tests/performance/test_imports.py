"""Which libraries a cold start may load: the ceiling that keeps first invocations fast. Sets, never times."""

from __future__ import annotations

import sys
from functools import cache

import pytest

from tests.performance import cloud
from tests.performance.cloud import CASES

VALIDATION = {"pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"}
SETTINGS = VALIDATION | ({"tomli"} if sys.version_info < (3, 11) else set())
POSTGRES = {"psycopg", "psycopg_binary", "tzdata"}
HTTP = {"urllib3"}
SDK = HTTP | {"tencentcloud", "requests", "certifi", "charset_normalizer", "idna"}
PICTURES = {"PIL"}
"""And never FFmpeg: that is loaded by the child alone."""

CEILINGS = {
    "on_upload starts a task": SETTINGS | POSTGRES | SDK,
    "on_upload knows the task": SETTINGS | POSTGRES,
    "on_task captures": SETTINGS | POSTGRES | HTTP | PICTURES,
    "on_timer has nothing to do": SETTINGS | POSTGRES,
    "on_timer starts a task": SETTINGS | POSTGRES | SDK,
}
DOES = {
    "on_upload starts a task": ({"psycopg", "tencentcloud"}, lambda answer: answer[0]["what"] == "opened"),
    "on_upload knows the task": ({"psycopg"}, lambda answer: answer[0]["what"] == "known"),
    "on_task captures": ({"psycopg", "urllib3", "PIL"}, lambda answer: answer["outcome"] == "complete"),
    "on_timer has nothing to do": ({"psycopg"}, lambda answer: not any(answer.values())),
    "on_timer starts a task": ({"psycopg", "tencentcloud"}, lambda answer: answer["started"] == 1),
}
"""That the first invocation really went the way the ceiling is for: what it must have loaded, and answered."""

OURS = {"lib", "handlers", "__main__"}
START_UP = ("_distutils_hack", "_sysconfigdata", "_virtualenv", "sitecustomize", "usercustomize")
"""What an environment's own start may load before any of our code runs."""


def libraries(modules):
    tops = {name.partition(".")[0] for name in modules} - set(sys.stdlib_module_names) - OURS
    return {top for top in tops if not top.startswith(("_cython", "cython_runtime", *START_UP))}


@pytest.fixture(scope="module")
def first_invocation(postgres_server):
    """The first invocation of a case, made once."""
    with cloud.running(postgres_server) as functions:
        cases = {case.name: case for case in CASES}
        yield cache(lambda name: functions.first_invocation(cases[name]))


def test_every_case_has_a_ceiling():
    assert set(CEILINGS) == set(DOES) == {case.name for case in CASES}


@pytest.mark.parametrize("name", CEILINGS)
def test_a_first_invocation_loads_no_library_above_its_ceiling(first_invocation, name):
    invocation = first_invocation(name)
    needed, happened = DOES[name]
    assert happened(invocation.answer), invocation.answer
    assert needed <= libraries(invocation.modules) <= CEILINGS[name]


@pytest.mark.parametrize("name", CEILINGS)
def test_no_typed_client_of_the_sdk_is_loaded(first_invocation, name):
    of_the_sdk = {module for module in first_invocation(name).modules if module.startswith("tencentcloud.")}
    assert all(module.startswith("tencentcloud.common") for module in of_the_sdk)


@pytest.mark.parametrize("name", [name for name, ceiling in CEILINGS.items() if not ceiling & PICTURES])
def test_only_a_capture_loads_the_engine(first_invocation, name):
    engine = {"capturing", "demuxing", "decoder", "sheets", "tiles"}
    assert not {f"lib.sprites.{part}" for part in engine} & first_invocation(name).modules


@pytest.mark.parametrize("name", [name for name, ceiling in CEILINGS.items() if not ceiling & HTTP])
def test_nobody_pays_for_http_who_calls_nobody(first_invocation, name):
    assert not {"http.client", "lib.storage.cos"} & first_invocation(name).modules


@pytest.mark.parametrize("function", ["on_upload", "on_task", "on_timer"])
def test_importing_a_handler_loads_validation_only(function):
    modules = cloud.run(function, None, {}).modules
    assert libraries(modules) <= SETTINGS
    assert not {"asyncio", "ssl", "http.client", "sqlite3", "concurrent.futures"} & modules


def test_without_postgres_its_driver_is_not_loaded(tmp_path):
    # GIVEN the settings of one machine
    machine = {"DATABASE_URL": f"sqlite:///{tmp_path}/filmstrip.db", "BUCKET_DIR": str(tmp_path / "bucket")}
    # WHEN the timer finds nothing to do
    invocation = cloud.run("on_timer", {}, machine)
    # THEN only validation was loaded beside the standard library
    assert not any(invocation.answer.values())
    assert "sqlite3" in invocation.modules
    assert libraries(invocation.modules) <= SETTINGS
