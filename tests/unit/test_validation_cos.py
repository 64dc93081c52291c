import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.errors import Invalid
from lib.validation import cos


def test_a_real_event_names_its_upload(events):
    [record] = cos.parse(events["cos/put"])

    assert record == cos.CosRecord(
        action="ObjectCreated:Put",
        bucket="media-1250000000",
        key="videos/HappyLunarNewYear.mp4",
        etag="0d7316832fef232e5dcdcf81f39bfdba",
        size=2561690,
        time=1650016156,
    )


def test_older_events_have_no_etag_and_no_region(events):
    [record] = cos.parse(events["cos/without_etag"])

    assert (record.bucket, record.key, record.etag) == ("testpic-1253970026", "testfile", "")


@pytest.mark.parametrize(
    ("sample", "key"),
    [("cos/encoded_url", "!!!!!!!"), ("cos/unicode", "videos/新年 + 100%/快乐!.mp4")],
)
def test_the_key_is_taken_raw_and_the_url_decoded(events, sample, key):
    [record] = cos.parse(events[sample])

    assert record.key == key


def test_a_deletion_keeps_its_name_without_the_blank(events):
    [record] = cos.parse(events["cos/delete"])

    assert record.action == "ObjectRemove:Delete"


@pytest.mark.parametrize(
    "event", [None, [], "x", 7, {}, {"Records": None}, {"Records": {}}, {"Type": "Timer"}]
)
def test_what_is_no_cos_event_is_refused_by_name(event):
    with pytest.raises(Invalid, match="Records: this is not the event of a COS trigger"):
        cos.parse(event)


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (["cos", "cosObject", "key"], None, "Records[1].cos.cosObject.key"),
        (["cos", "cosObject", "key"], "/1250000000/other/videos/a.mp4", "Records[1].cos.cosObject.key"),
        (["cos", "cosObject", "key"], "videos/a.mp4", "Records[1].cos.cosObject.key"),
        (["cos", "cosObject", "key"], "/1250000000/media/", "Records[1].cos.cosObject.key"),
        (["cos", "cosObject", "key"], "/1250000000/media/videos/b.mp4", "Records[1].cos.cosObject.key"),
        (["cos", "cosObject", "url"], "http://[", "Records[1].cos.cosObject.key"),
        (["cos", "cosObject", "size"], "many", "Records[1].cos.cosObject.size"),
        (["cos", "cosObject", "size"], -1, "Records[1].cos.cosObject.size"),
        (["cos", "cosBucket", "appid"], "", "Records[1].cos.cosBucket.appid"),
        (["cos"], None, "Records[1].cos"),
        (["event", "eventName"], 5, "Records[1].event.eventName"),
    ],
)
def test_a_wrong_record_names_its_field_and_leaves_the_others(events, path, value, field):
    # GIVEN three records, the middle one wrong
    event = events["cos/put"]
    event["Records"] = [copy.deepcopy(event["Records"][0]) for _ in range(3)]
    place = event["Records"][1]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value

    # WHEN it is parsed
    first, wrong, last = cos.parse(event)

    # THEN only the middle one is refused, by the path of its field
    assert isinstance(wrong, Invalid)
    assert wrong.field == field
    assert first == last
    assert first.key == "videos/HappyLunarNewYear.mp4"


def test_a_missing_field_is_named(events):
    event = events["cos/put"]
    del event["Records"][0]["cos"]["cosBucket"]

    [wrong] = cos.parse(event)

    assert str(wrong) == "Records[0].cos.cosBucket: Field required"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_hostile_events_give_named_refusals_only(events, share):
    sample = json.dumps(events["cos/put"])
    paths = [["cos"], ["event"], ["cos", "cosObject"], ["cos", "cosBucket"], ["cos", "cosObject", "key"],
             ["cos", "cosObject", "url"], ["cos", "cosObject", "meta"], ["cos", "cosObject", "meta", "ETag"],
             ["event", "eventName"], ["event", "eventTime"]]  # fmt: skip

    @settings(max_examples=share(100_000, 1_500), deadline=None, database=None)
    @given(st.sampled_from(paths), JSON, JSON)
    def check(path, value, event):
        mutated = json.loads(sample)
        place = mutated["Records"][0]
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value
        [record] = cos.parse(mutated)
        if isinstance(record, Invalid):
            assert record.field.startswith("Records[0]")
            assert "canary-authorization" not in str(record)
        else:
            assert isinstance(record.key, str)
            assert record.key
        try:
            cos.parse(event)
        except Invalid as error:
            assert error.field == "Records"  # noqa: PT017 - every other error fails the test

    check()
