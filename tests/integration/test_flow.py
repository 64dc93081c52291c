"""From an upload to its pictures and its event, on both kinds of bucket and both databases."""

from __future__ import annotations

import io
import json
import re
import time
from dataclasses import replace

import pytest
from PIL import Image

from lib.errors import StorageUnavailable, Throttled
from lib.publication import IMMUTABLE, NO_CACHE
from tests.conftest import MEDIA
from tests.systems import BUCKET, System
from tests.videos import make_barcoded, make_sound, read_barcode

KEY = "videos/新年 #1.mp4"
PLACE = f"sprites/{KEY}/10/"


@pytest.fixture(scope="session")
def videos(tmp_path_factory):
    """Three versions of a video, told apart by their length."""
    folder = tmp_path_factory.mktemp("videos")
    return [
        make_barcoded(folder / f"{seconds}.mp4", seconds=seconds, fps=5, gop=10).read_bytes()
        for seconds in (25, 35, 45)
    ]


@pytest.fixture(params=["folder", "cos"])
def system(request, tmp_path, database_url, monkeypatch):
    with System(tmp_path, database_url, monkeypatch, bucket=request.param) as system:
        yield system


@pytest.fixture
def simple(tmp_path, database_url, monkeypatch):
    """Where the kind of bucket does not matter."""
    with System(tmp_path, database_url, monkeypatch) as system:
        yield system


def test_an_upload_becomes_sheets_an_index_a_manifest_and_an_event(system, videos):
    # GIVEN an upload
    stored = system.upload(KEY, videos[0])

    # WHEN its task runs
    assert system.run() == ["complete"]

    # THEN the folder holds what players need, and nothing else
    stem = f"sprite_{stored.etag[:12]}"
    names = ["manifest.json", f"{stem}.json", f"{stem}_0.jpg", "thumbnails.vtt"]
    published = system.published()
    assert sorted(published) == sorted(PLACE + name for name in names)
    assert (
        published[f"{PLACE}thumbnails.vtt"]
        .decode()
        .startswith(f"WEBVTT\n\n00:00:00.000 --> 00:00:10.000\n{stem}_0.jpg#xywh=0,0,142,80\n\n")
    )
    manifest = system.manifest(KEY)
    assert (manifest.outcome, manifest.coverage, len(manifest.tiles)) == ("complete", 1.0, 3)
    assert (manifest.source.bucket, manifest.source.key, manifest.source.etag) == (BUCKET, KEY, stored.etag)

    # AND every tile shows the frame that the manifest says
    sheet = Image.open(io.BytesIO(published[f"{PLACE}{stem}_0.jpg"]))
    for tile in manifest.tiles:
        picture = sheet.crop((tile.x, tile.y, tile.x + tile.width, tile.y + tile.height))
        assert read_barcode(picture) == round(tile.frame * 1000)

    # AND the event came, once, with addresses that can be fetched
    [received] = system.received()
    [task] = system.tasks()
    base = "https://cdn.example/media/sprites/videos/%E6%96%B0%E5%B9%B4%20%231.mp4/10/"
    assert received.event == {
        "version": "4.0",
        "eventType": "CreateImageSpriteComplete",
        "data": {
            "status": 0,
            "message": "",
            "vodTaskId": task.id,
            "fileId": task.file_id,
            "definition": 10,
            "totalCount": 3,
            "imageSpriteUrl": [f"{base}{stem}_0.jpg"],
            "webVttUrl": f"{base}thumbnails.vtt",
        },
    }
    assert re.fullmatch(r"CreateImageSprite-[0-9a-f]{32}", task.id)


def test_objects_are_published_with_types_and_lifetimes(tmp_path, database_url, monkeypatch, videos):
    with System(tmp_path, database_url, monkeypatch, bucket="cos") as system:
        system.upload(KEY, videos[0])
        system.run()
        told = {
            key.rpartition("/")[2].split("_")[0]: (stored.content_type, stored.cache_control)
            for key, stored in system.cos.objects.items()
            if key.startswith(PLACE) and not key.endswith("json")
        }
        assert told == {
            "sprite": ("image/jpeg", IMMUTABLE),
            "thumbnails.vtt": ("text/vtt; charset=utf-8", NO_CACHE),
        }
        manifest = system.cos.objects[f"{PLACE}manifest.json"]
        assert (manifest.content_type, manifest.cache_control) == (
            "application/json; charset=utf-8",
            NO_CACHE,
        )


def test_manifest_is_written_after_all_it_names(tmp_path, database_url, monkeypatch, videos):
    with System(tmp_path, database_url, monkeypatch, bucket="cos") as system:
        system.upload(KEY, videos[0])
        system.run()
        written = [asked.key.rpartition("/")[2] for asked in system.cos.requests if asked.method == "PUT"]
        assert [name.split("_")[0].split(".")[0] for name in written] == [
            "sprite",
            "sprite",
            "thumbnails",
            "manifest",
        ]
        assert written[0].endswith("_0.jpg")


def test_the_same_event_again_changes_nothing(system, videos):
    stored = system.upload(KEY, videos[0])
    system.fire(stored)
    system.run()
    before = system.published()
    again = system.fire(stored, stored)
    assert system.run() == []
    system.app.tick()

    assert [taken["what"] for taken in again] == ["known", "known"]
    assert len(system.tasks()) == 1
    assert len(system.received()) == 1
    assert system.published() == before


def test_a_second_invocation_of_a_finished_task_does_nothing(simple, videos):
    simple.upload(KEY, videos[0])
    [(_, payload)] = simple.invocations.waiting
    simple.run()

    assert simple.app.attempt(payload["task"]) == "finished"
    assert len(simple.recorded()) == 1


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_newest_upload_wins_whatever_the_order_of_events(system, videos, order):
    # GIVEN two versions of one key, their events in any order, after both uploads
    versions = [system.store(KEY, videos[0]), system.store(KEY, videos[1])]
    system.fire(*[versions[number] for number in order])

    # WHEN all is done
    outcomes = system.run()

    # THEN the first version is gone by name, and the second is shown
    assert sorted(outcomes) == ["complete", "gone"]
    assert system.manifest(KEY).source.etag == versions[1].etag
    assert {event["data"]["status"] for event in system.recorded()} == {0, 30009}
    assert not [key for key in system.published() if versions[0].etag[:12] in key]


def test_a_new_version_replaces_the_old_one_whole_and_its_sheets_go_later(system, videos):
    first = system.upload(KEY, videos[0])
    system.run()
    second = system.upload(KEY, videos[1])
    system.run()

    # old sheets stay for players that read the old index
    assert [key for key in system.published() if first.etag[:12] in key]
    assert system.manifest(KEY).source.etag == second.etag

    system.app.tick()
    assert not [key for key in system.published() if first.etag[:12] in key]
    assert system.manifest(KEY).source.etag == second.etag
    assert [task.file_id for task in system.tasks()][0] == system.tasks()[1].file_id


def test_an_old_version_uploaded_again_is_shown_again(system, videos):
    """Its task is there already: the sweep finds that the folder shows another version."""
    for data in (videos[0], videos[1]):
        system.upload(KEY, data)
        system.run()
    system.app.tick()

    again = system.upload(KEY, videos[0])
    system.run()
    system.app.tick()
    system.run()

    assert system.manifest(KEY).source.etag == again.etag
    assert len(system.manifest(KEY).tiles) == 3


def test_a_straggler_that_points_last_points_right(simple, videos):
    """An attempt that was held up between reading the version and writing the stable names."""
    first = simple.upload(KEY, videos[0])
    simple.run()
    publication = simple.app.publication(KEY, 10)
    asked = publication.source

    def overwritten_right_after():
        source = asked()
        if source.etag == first.etag:
            simple.upload(KEY, videos[1])
            simple.run()
        return source

    publication.source = overwritten_right_after
    publication.point()

    assert simple.manifest(KEY).source.etag == simple.app.storage().head(KEY).etag


def test_a_video_deleted_while_it_is_captured_is_gone_without_a_trace(system, videos):
    system.upload(KEY, videos[0])
    read, reads = system.app.storage().read, []

    def deleted_after_the_first_read(*arguments, **options):
        if reads:
            system.delete(KEY)
        reads.append(arguments)
        return read(*arguments, **options)

    system.app.storage().read = deleted_after_the_first_read
    assert system.run() == ["gone"]

    [received] = system.received()
    assert received.event["data"]["status"] == 30009
    assert system.published() == {}


def test_deleted_before_its_event_came(system, videos):
    stored = system.store(KEY, videos[0])
    system.delete(KEY)
    system.fire(stored)

    assert system.run() == ["gone"]
    assert system.published() == {}


def test_a_deleted_video_takes_its_older_sprite_with_it(simple, videos):
    simple.upload(KEY, videos[0])
    simple.run()
    stored = simple.store(KEY, videos[1])
    simple.delete(KEY)
    simple.fire(stored)
    assert simple.run() == ["gone"]

    simple.app.tick()
    assert simple.published() == {}


def damaged(name, tmp_path):
    if name == "sound.mp4":
        return make_sound(tmp_path / "sound.mp4").read_bytes()
    whole = (MEDIA / "bikes.mp4").read_bytes()
    return {
        "text.mp4": b"This is not a video at all.\n" * 100,
        "empty.mp4": b"",
        "head.mp4": whole[:2000],
        "playlist.mp4": b"#EXTM3U\n#EXTINF:10,\nhttp://169.254.169.254/latest/meta-data\n",
    }[name]


@pytest.mark.parametrize(
    ("name", "outcome", "status"),
    [
        ("text.mp4", "unsupported", -44029),
        ("playlist.mp4", "unsupported", -44029),
        ("empty.mp4", "corrupt", -44001),
        ("head.mp4", "corrupt", -44001),
        ("sound.mp4", "no_video", -47402),
    ],
)
def test_bad_videos_end_by_name_and_never_in_a_sprite_of_nothing(simple, tmp_path, name, outcome, status):
    simple.upload(f"videos/{name}", damaged(name, tmp_path))

    assert simple.run() == [outcome]

    [received] = simple.received()
    [task] = simple.tasks()
    data = received.event["data"]
    assert set(data) == {"status", "message", "vodTaskId", "fileId"}
    assert (data["status"], data["vodTaskId"]) == (status, task.id)
    assert data["message"]
    assert simple.published() == {}


def test_a_truncated_upload_gives_a_partial_sprite(simple, tmp_path):
    whole = make_barcoded(
        tmp_path / "whole.mp4", seconds=60, fps=5, gop=10, container_options={"movflags": "faststart"}
    ).read_bytes()
    simple.upload(KEY, whole[: len(whole) // 2])

    assert simple.run() == ["partial"]

    manifest = simple.manifest(KEY)
    assert 0 < manifest.coverage < 1
    assert len(manifest.tiles) < 7
    assert simple.received()[0].event["data"]["totalCount"] == len(manifest.tiles)


def test_a_bucket_that_does_not_answer_is_tried_again_by_the_timer(simple, videos):
    # GIVEN a bucket that fails for the first attempt
    simple.upload(KEY, videos[0])
    storage = simple.app.storage()
    head = storage.head

    def down(key):
        raise StorageUnavailable(bucket=BUCKET, action="head", key=key, reason="503")

    storage.head = down
    assert simple.run() == ["retry"]
    assert simple.tasks()[0].state == "waiting"
    assert "503" in simple.tasks()[0].reason
    assert simple.received() == []

    # WHEN it is back and the timer comes by after the pause
    storage.head = head
    simple.app.tick()
    assert simple.run() == []
    make_due(simple)
    simple.app.tick()

    # THEN the job is done
    assert simple.run() == ["complete"]
    assert simple.tasks()[0].attempt == 2
    assert len(simple.received()) == 1


def make_due(system):
    tasks = system.tasks()
    with system.app.database.transaction() as session:
        for task in tasks:
            session.run("postpone_task", id=task.id, due_at=0.0)


def test_a_throttled_start_is_left_to_the_timer(simple, videos):
    simple.invocations.fails = [Throttled(function="on_task", reason="432")]
    stored = simple.store(KEY, videos[0])
    [taken] = simple.fire(stored)
    assert taken["what"] == "opened"
    assert "left to the timer" in taken["reason"]
    assert simple.run() == []

    make_due(simple)
    simple.app.tick()

    assert simple.run() == ["complete"]


def test_a_call_of_the_api_reuses_the_pictures_and_has_its_own_event(simple, videos):
    simple.upload(KEY, videos[0])
    simple.run()
    before = simple.published()
    [first] = simple.tasks()

    opened = simple.app.tasks.open_request(file_id=first.file_id, definition=10, engine="own")
    assert simple.app.attempt(opened.task.id) == "complete"

    assert simple.published() == before
    events = [received.event["data"] for received in simple.received()]
    assert [event["vodTaskId"] for event in events] == [first.id, opened.task.id]
    assert events[0]["imageSpriteUrl"] == events[1]["imageSpriteUrl"]
    assert simple.app.tasks.attempts(opened.task.id)[0]["bytes_read"] == 0


def test_a_receiver_that_is_down_gets_the_event_later_and_once(tmp_path, database_url, monkeypatch, videos):
    with System(tmp_path, database_url, monkeypatch) as system:
        address = system.receiver.address
        system.app.deliveries._callback_url = f"http://{address.replace('127.0.0.1', '127.0.0.2')}/"
        system.upload(KEY, videos[0])
        system.run()
        [row] = system.app.deliveries.newest()
        assert (row["state"], row["attempt"]) == ("due", 1)
        assert system.received() == []

        system.app.deliveries._callback_url = system.receiver.url
        monkeypatch.setattr("lib.system.SystemClock.now", lambda _self: row["due_at"] + 1)
        system.app.tick()
        system.app.tick()

        assert [received.id for received in system.received()] == [row["id"]]


def test_definitions_of_your_own_are_captured_for_every_upload(tmp_path, database_url, monkeypatch, videos):
    mine = tmp_path / "mine.toml"
    mine.write_text('[20]\ninterval = 5\nwidth = 160\nheight = 90\nformat = "webp"\n')
    with System(
        tmp_path, database_url, monkeypatch, DEFINITIONS="10,20", DEFINITIONS_FILE=str(mine)
    ) as system:
        system.upload(KEY, videos[0])
        assert system.run() == ["complete", "complete"]

        assert [len(system.manifest(KEY, number).tiles) for number in (10, 20)] == [3, 6]
        assert [key for key in system.published() if key.endswith("_0.webp")]
        assert sorted(event["data"]["definition"] for event in system.recorded()) == [10, 20]


def test_a_definition_that_was_taken_away_fails_its_task_with_the_reason(simple, videos):
    simple.upload(KEY, videos[0])
    with simple.app.database.transaction() as session:
        media = session.one("media_by_key", bucket=BUCKET, key=KEY)
    opened = simple.app.tasks.open_request(file_id=media["file_id"], definition=99, engine="own")

    assert simple.app.attempt(opened.task.id) == "retry"
    assert "there is no definition 99" in simple.app.tasks.get(opened.task.id).reason


def test_a_folder_is_cleaned_without_what_lies_below_it(simple, videos):
    """A key that begins like the folder of another one has its sprite inside that folder."""
    below = f"{PLACE}sprite_x.mp4/10/manifest.json"
    simple.app.storage().put(below, b"{}", content_type="", cache_control="")
    stored = simple.store(KEY, videos[1])
    simple.delete(KEY)
    simple.fire(stored)
    assert simple.run() == ["gone"]

    simple.app.tick()
    assert list(simple.published()) == [below]


def test_an_upload_whose_event_was_lost_is_found_by_the_timer(system, videos, monkeypatch):
    """All three tries of on_upload failed while the database was down: nobody but the bucket knows of the upload."""
    # GIVEN a bucket with a video from before, and the first scan
    system.store("videos/from before.mp4", videos[1])
    system.age("videos/from before.mp4", 7200)
    passed = [-600.0]
    real = time.time
    monkeypatch.setattr("lib.system.SystemClock.now", lambda _self: real() + passed[0])
    system.app.tick()

    # WHEN a video comes without an event (and something that is no video), and the next scans are due
    system.store(KEY, videos[0])
    system.store("videos/notes.txt", b"text")
    passed[0] = 3600
    system.app.tick()

    # THEN it gets its sprite, once
    assert system.run() == ["complete"]
    passed[0] = 7300
    system.app.tick()
    assert system.run() == []
    assert [task.key for task in system.tasks()] == [KEY]


def test_a_scan_that_runs_out_of_time_goes_on_where_it_was(simple, videos, monkeypatch):
    passed = [-86400.0]
    real = time.time
    monkeypatch.setattr("lib.system.SystemClock.now", lambda _self: real() + passed[0])
    simple.app.tick()
    for number in range(3):
        simple.store(f"videos/{number}.mp4", videos[0])
    passed[0] = 3600
    out_of_time = replace(simple.app, deadline=0.0)
    for _ in range(4):
        out_of_time.tick()

    assert sorted(task.key for task in simple.tasks()) == ["videos/0.mp4", "videos/1.mp4", "videos/2.mp4"]
    with simple.app.database.transaction() as session:
        assert session.one("take_scan", name="bucket", now=real() + 90000, later=0.0)["after_key"] == ""


def test_the_documents_that_are_asked_for_are_published_and_listed(
    tmp_path, database_url, monkeypatch, videos
):
    names = "vtt,storyboard,hls,dash,bif,players"
    with System(tmp_path, database_url, monkeypatch, bucket="cos", DOCUMENTS=names) as system:
        stored = system.upload(KEY, videos[0])
        assert system.run() == ["complete"]

        documents = system.manifest(KEY).documents
        assert list(documents) == names.split(",")
        published = system.published()
        sheet = f"sprite_{stored.etag[:12]}_0.jpg"
        for name in ("vtt", "hls"):
            assert sheet in published[PLACE + documents[name]].decode()
        story = json.loads(published[PLACE + documents["storyboard"]])
        assert (
            story["url"]
            == f"https://cdn.example/media/sprites/videos/%E6%96%B0%E5%B9%B4%20%231.mp4/10/{sheet}"
        )
        assert published[PLACE + documents["bif"]].startswith(b"\x89BIF")
        assert system.cos.objects[PLACE + "thumbnails.mpd"].content_type == "application/dash+xml"

        # a sweep keeps them
        system.app.tick()
        assert system.published() == published
