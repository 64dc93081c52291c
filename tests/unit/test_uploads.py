import json

import pytest

from lib.errors import DatabaseUnavailable, Invalid, KeyRefused, ObjectNotFound, TaskNotFound
from lib.ports import Task
from lib.tasks import Opened
from lib.uploads import Rules, Uploads
from lib.validation import cos

RULES = Rules("media-1250000000", "videos/", "sprites/", (".mp4", ".mkv"))


class Tasks:
    """Remembers what is opened; fails for keys it is told to fail for."""

    def __init__(self, **failures):
        self.failures = failures
        self.opened = {}

    def open_upload(self, *, bucket, key, etag, size, definition, engine):
        for part, error in self.failures.items():
            if part in key:
                raise error
        new = (key, etag, definition) not in self.opened
        task = Task(
            f"task-{key}-{definition}", "upload", "1", bucket, key, etag, size, definition, engine, "waiting", None,
            "", 0, 0, None, 0.0, None, 0.0, None, None,
        )  # fmt: skip
        self.opened[key, etag, definition] = task
        return Opened(task, new=new, start=new)


class Engine:
    def __init__(self):
        self.started = []

    def start(self, task):
        self.started.append(task.key)


class Bucket:
    def head(self, key):
        raise ObjectNotFound(bucket="b", key=key)


def take(event, tasks=None, engine=None, definitions=(10,)):
    uploads = Uploads(
        tasks or Tasks(), Bucket, engine or Engine(), rules=RULES, definitions=definitions, engine_name="own"
    )
    return uploads.take(cos.parse(event))


def test_of_merged_records_only_videos_under_the_watched_prefix_open_tasks(events):
    engine = Engine()

    intake = take(events["cos/merged"], engine=engine)

    assert [(taken.what, taken.reason) for taken in intake] == [
        ("opened", ""),
        ("ignored", "it is a folder"),
        ("ignored", "its suffix is not one of VIDEO_SUFFIXES"),
        ("ignored", "it lies under the output prefix 'sprites/'"),
        ("ignored", "it lies outside the watched prefix 'videos/'"),
        ("opened", ""),
    ]
    assert engine.started == ["videos/a.mp4", "videos/C.MP4"]
    intake.raise_if_retry_helps()


def test_every_definition_is_opened(events):
    intake = take(events["cos/put"], definitions=(10, 20))

    assert [taken.task[-2:] for taken in intake] == ["10", "20"]


def test_deletions_are_no_uploads(events):
    [taken] = take(events["cos/delete"])

    assert (taken.what, taken.reason) == ("ignored", "ObjectRemove:Delete is not an upload")


def test_another_bucket_is_refused_by_name(events):
    [taken] = take(events["cos/encoded_url"])

    assert taken.what == "refused"
    assert "'bookshelfplus-1302260381' is not the bucket of this deployment" in taken.reason


@pytest.mark.parametrize("name", ["a/../../b.mp4", "./a.mp4", "nul\x00.mp4", "line\nfeed.mp4"])
def test_keys_that_cannot_be_addressed_are_refused(events, name):
    event = events["cos/put"]
    event["Records"][0]["cos"]["cosObject"]["key"] = f"/1250000000/media/videos/{name}"
    del event["Records"][0]["cos"]["cosObject"]["url"]

    [taken] = take(event)

    assert taken.what == "refused"
    assert "its key cannot be addressed" in taken.reason


@pytest.mark.parametrize(
    "name", ["concat:a|b.mp4", "-rf.mp4", "http:/x.mp4", "%2e%2e%2f.mp4", "‮gpj.mp4", "é" * 400 + ".mp4"]
)
def test_odd_names_are_data(events, name):
    event = events["cos/put"]
    event["Records"][0]["cos"]["cosObject"]["key"] = f"/1250000000/media/videos/{name}"
    del event["Records"][0]["cos"]["cosObject"]["url"]

    [taken] = take(event)

    assert taken.what == "opened"


def test_a_failure_is_raised_once_after_the_others_are_done(events):
    tasks = Tasks(a=DatabaseUnavailable(reason="gone"))

    intake = take(events["cos/merged"], tasks)

    assert [taken.what for taken in intake] == [
        "failed",
        "ignored",
        "ignored",
        "ignored",
        "ignored",
        "opened",
    ]
    with pytest.raises(DatabaseUnavailable):
        intake.raise_if_retry_helps()


@pytest.mark.parametrize(
    "error", [TaskNotFound(task_id="x"), KeyRefused(key="k", problem="odd"), Invalid(field="f", problem="p")]
)
def test_what_no_retry_helps_is_not_raised(events, error):
    intake = take(events["cos/merged"], Tasks(a=error))

    assert intake[0].what == "failed"
    intake.raise_if_retry_helps()


def test_an_event_without_an_etag_opens_a_task_even_for_what_is_gone(events):
    event = events["cos/put"]
    del event["Records"][0]["cos"]["cosObject"]["meta"]["ETag"]
    tasks = Tasks()

    take(event, tasks)

    assert [etag for _, etag, _ in tasks.opened] == ["gone-1650016156"]


def test_no_line_of_the_log_has_the_uploaders_signature(events, capsys):
    for sample in ("cos/put", "cos/merged", "cos/delete"):
        take(events[sample])
    lines = capsys.readouterr().out

    assert "canary-authorization" not in lines
    assert {json.loads(line)["outcome"] for line in lines.splitlines()} == {"upload.opened", "upload.ignored"}
