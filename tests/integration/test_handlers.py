"""The handlers as SCF calls them: settings from the environment, a dict as context, a JSON-able answer."""

from __future__ import annotations

import json

import pytest

from handlers import on_task, on_timer, on_upload
from lib import app as composition
from lib.errors import ConfigurationError, Invalid, TaskNotFound
from tests.conftest import MEDIA
from tests.systems import System

CONTEXT = {
    "memory_limit_in_mb": 512,
    "time_limit_in_ms": 60_000,
    "request_id": "f03dc946-3df4-45a0-8e54-000000000000",
    "environment": '{"SCF_NAMESPACE":"default"}',
    "function_version": "$LATEST",
    "function_name": "on_upload",
    "namespace": "default",
    "tencentcloud_region": "ap-guangzhou",
}


@pytest.fixture
def system(tmp_path, database_url, monkeypatch):
    with System(tmp_path, database_url, monkeypatch, bucket="cos") as system:
        for name, value in system.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("INVOKE_URL", "http://127.0.0.1:9/nobody-listens")
        monkeypatch.chdir(tmp_path)
        composition._warm.cache_clear()
        yield system
        composition._warm.cache_clear()


def test_an_upload_goes_through_all_three(system, events, capsys):
    # GIVEN an uploaded video, and a platform that cannot start functions just now
    event = events["cos/put"]
    event["Records"][0]["cos"]["cosObject"]["meta"]["ETag"] = ""
    system.store("videos/HappyLunarNewYear.mp4", (MEDIA / "bikes.mp4").read_bytes())

    # WHEN on_upload, on_task, on_task again and on_timer are called
    [taken] = json.loads(json.dumps(on_upload.main_handler(event, CONTEXT)))
    assert (taken["what"], taken["key"]) == ("opened", "videos/HappyLunarNewYear.mp4")
    first = on_task.main_handler({"task": taken["task"]}, CONTEXT)
    again = on_task.main_handler({"task": taken["task"]}, CONTEXT)
    ticked = json.loads(json.dumps(on_timer.main_handler(events["timer"], CONTEXT)))

    # THEN the sprite is there, its event came once, and each line names the request
    assert (first["outcome"], again["outcome"]) == ("complete", "finished")
    assert ticked["failed"] == 0
    assert len(system.received()) == 1
    assert "sprites/videos/HappyLunarNewYear.mp4/10/manifest.json" in system.published()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["request"] for line in lines} == {CONTEXT["request_id"]}
    complete = next(line for line in lines if line["outcome"] == "task.complete")
    assert {"task", "key", "seconds", "bytes", "attempt"} <= set(complete)


def test_credentials_are_read_at_every_use(system, monkeypatch):
    from lib.signing.cos import Credentials

    system.upload("videos/a.mp4", (MEDIA / "bikes.mp4").read_bytes())
    [(_, payload)] = system.invocations.waiting
    rotated = Credentials("AKIDrotated", "rotatedsecretkey", "rotated/token")
    system.cos.credentials = rotated
    monkeypatch.setenv("TENCENTCLOUD_SECRETID", rotated.secret_id)
    monkeypatch.setenv("TENCENTCLOUD_SECRETKEY", rotated.secret_key)
    monkeypatch.setenv("TENCENTCLOUD_SESSIONTOKEN", rotated.token)

    assert on_task.main_handler(payload, CONTEXT)["outcome"] == "complete"


def test_events_of_another_kind_are_refused_by_name(system, events):
    with pytest.raises(Invalid, match="Records: this is not the event of a COS trigger"):
        on_upload.main_handler(events["timer"], CONTEXT)
    for payload in ({}, {"task": ""}, {"task": 5}, None, []):
        with pytest.raises(Invalid, match="task: this function is invoked with"):
            on_task.main_handler(payload, CONTEXT)
    with pytest.raises(TaskNotFound):
        on_task.main_handler({"task": "CreateImageSprite-none"}, CONTEXT)


def test_an_attempt_gives_up_in_good_order_before_its_function_is_killed(system, events):
    system.upload("videos/a.mp4", (MEDIA / "bikes.mp4").read_bytes())
    [(_, payload)] = system.invocations.waiting

    assert on_task.main_handler(payload, {**CONTEXT, "time_limit_in_ms": 15_000})["outcome"] == "retry"
    [task] = system.tasks()
    assert (task.state, task.reason) == ("waiting", "The function's time limit is near.")


def test_a_wrong_setting_is_named_before_anything_happens(system, events, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "mysql://root:canary@x/y")
    composition._warm.cache_clear()

    with pytest.raises(ConfigurationError, match="^DATABASE_URL: ") as caught:
        on_upload.main_handler(events["cos/put"], CONTEXT)
    assert "canary" not in str(caught.value)
