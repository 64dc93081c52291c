"""What is no video, or no whole one: a named error or an honest part, and never a sprite of nothing."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lib.errors import (
    Corrupt,
    FilmstripError,
    MediaError,
    NoVideo,
    ObjectChanged,
    ObjectNotFound,
    StorageUnavailable,
    TooLarge,
    TooShort,
    Unsupported,
)
from lib.sprites import Definition, Limits, Manifest, capture, capturing
from lib.sprites.decoder.media import Media
from lib.sprites.reading import SourceFile
from lib.sprites.sheets import Sheet
from tests.videos import Bytes, make_barcoded, make_sound, read_barcode

BASIC = Definition(number=1, name="a tile a second", interval=1, rows=3, columns=4, format="png")


def run(reader: Bytes, definition: Definition = BASIC, **options: Any) -> tuple[Manifest, list[Sheet]]:
    sheets: list[Sheet] = []
    try:
        manifest = capture(
            reader, definition, sheet_name=lambda n: f"s{n}.png", emit=sheets.append, source={}, **options
        )
    except MediaError:
        assert not sheets, "nothing is emitted of a video without pictures"
        raise
    assert manifest.tiles
    assert sum(sheet.tiles for sheet in sheets) == len(manifest.tiles)
    return manifest, sheets


def shown(manifest: Manifest, sheets: list[Sheet]) -> list[int | None]:
    images = [Image.open(io.BytesIO(sheet.data)) for sheet in sheets]
    return [
        read_barcode(images[tile.sheet].crop((tile.x, tile.y, tile.x + tile.width, tile.y + tile.height)))
        for tile in manifest.tiles
    ]


CUT: dict[str, dict[str, Any]] = {
    "a.mp4": {"gop": 30, "b_frames": 2, "container_options": {"movflags": "faststart"}},
    "a.mkv": {"gop": 30, "b_frames": 2},
    "fragments.mp4": {"gop": 30, "container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "a.ts": {"gop": 60},
    "a.mpg": {"codec": "mpeg2video", "container": "dvd", "gop": 12},
    "a.flv": {"gop": 30},
    "a.avi": {"codec": "mpeg4", "gop": 30},
    "a.webm": {"codec": "libvpx-vp9", "gop": 40},
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    folder = tmp_path_factory.mktemp("whole")

    def get(name: str) -> bytes:
        path = folder / name
        if not path.exists():
            make_barcoded(path, seconds=8, **CUT[name])
        return path.read_bytes()

    return get


@pytest.mark.parametrize("accuracy", ["auto", "exact", "keyframe"])
@pytest.mark.parametrize("name", CUT)
def test_a_file_that_was_cut_off(whole: Callable[[str], bytes], name: str, accuracy: str) -> None:
    data = whole(name)
    definition = replace(BASIC, accuracy=accuracy)
    complete, _ = run(Bytes(data), definition)
    assert (complete.outcome, len(complete.tiles)) == ("complete", 9)
    for percent in (0.1, 2, 10, 33, 50, 75, 95):
        reader = Bytes(data[: int(len(data) * percent / 100)])
        try:
            manifest, sheets = run(reader, definition)
        except (Corrupt, TooShort):
            assert percent <= 10, "there are whole pictures in it"
            continue
        # THEN every tile is a whole picture at the time it says
        for tile, code in zip(manifest.tiles, shown(manifest, sheets), strict=True):
            assert code is not None
            assert abs(code / 1000 - tile.frame) <= 0.001
            if accuracy == "exact" and tile is not manifest.tiles[-1]:
                assert 0 <= tile.instant - tile.frame < 0.041
        # AND the tiles are those of the part that is there
        assert len(manifest.tiles) <= 9 * percent / 100 + 2
        assert manifest.tiles[-1].instant <= manifest.source.duration
        if name not in ("a.ts", "a.mpg", "a.flv") or (name == "a.flv" and percent < 80):
            # transport and program streams never say how long they are, and Flash not exactly
            assert manifest.outcome == "partial"
        if name in ("a.mp4", "a.mkv", "a.webm"):
            assert manifest.coverage == pytest.approx(len(manifest.tiles) / 9, abs=1e-6)


def test_an_index_that_was_cut_off_is_corrupt(tmp_path: Path) -> None:
    data = make_barcoded(tmp_path / "a.mp4", seconds=2).read_bytes()
    assert data.index(b"moov") > len(data) / 2
    with pytest.raises(Corrupt, match="looks like mp4 but cannot be opened"):
        run(Bytes(data[: data.index(b"moov") - 4]))
    with pytest.raises(Corrupt, match="cut off"):
        run(Bytes(data[: data.index(b"stbl")]))


def test_damage_in_the_middle_leaves_the_rest(whole: Callable[[str], bytes]) -> None:
    data = bytearray(whole("a.mp4"))
    middle = len(data) // 2
    data[middle : middle + 20_000] = random.Random(1).randbytes(20_000)
    manifest, sheets = run(Bytes(bytes(data)), replace(BASIC, accuracy="exact"))
    assert (manifest.outcome, len(manifest.tiles)) == ("complete", 9)
    codes = shown(manifest, sheets)
    right = [
        code is not None and abs(code / 1000 - tile.frame) <= 0.001
        for tile, code in zip(manifest.tiles, codes, strict=True)
    ]
    assert sum(right) >= 7


@pytest.mark.parametrize("name", CUT)
def test_damage_anywhere_never_ends_in_anything_but_a_media_error(
    whole: Callable[[str], bytes], name: str, share: Callable[[int, int], int]
) -> None:
    """Bytes are changed and cut at random: FFmpeg may not crash, and no other error may come out."""
    data = whole(name)
    dice = random.Random(name)
    definition = replace(BASIC, rows=10, columns=10)
    for _ in range(share(200, 6)):
        damaged = bytearray(data)
        for _ in range(dice.randrange(1, 40)):
            # headers are hit as often as all the rest
            at = dice.randrange(min(len(data), 2000) if dice.random() < 0.5 else len(data))
            damaged[at] = dice.randrange(256)
        damaged = damaged[: dice.randrange(1, len(damaged))] if dice.random() < 0.3 else damaged
        try:
            run(Bytes(bytes(damaged)), definition)
        except MediaError:
            continue


HOSTILE = {
    "list to concatenate": b"ffconcat version 1.0\nfile /etc/passwd\nfile 'http://169.254.169.254/'\n",
    "playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "drawing": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "dash": b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
    "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=video 5004 RTP/AVP 96\n",
    "text": b"Just a letter, named .mp4.\n" * 100,
    "jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(200),
    "png": b"\x89PNG\r\n\x1a\n" + bytes(200),
    "webp": b"RIFF\x24\x00\x00\x00WEBPVP8 " + bytes(200),
    "heic": b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(200),
    "zip": b"PK\x03\x04" + bytes(200),
    "program": b"\x7fELF\x02\x01\x01" + bytes(200),
    "noise": random.Random(3).randbytes(5000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_video_is_unsupported_and_opens_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capturing, "Decoder", lambda *_: pytest.fail("FFmpeg saw it"))
    with pytest.raises(Unsupported) as error:
        run(Bytes(HOSTILE[name]))
    assert error.value.reason.endswith(".")


def test_a_playlist_behind_the_signature_of_a_video_opens_nothing() -> None:
    with pytest.raises(MediaError):
        run(Bytes(b"\x1aE\xdf\xa3" + HOSTILE["playlist"]))
    with pytest.raises(MediaError):
        run(Bytes(b"\x00\x00\x00\x14ftypisom" + HOSTILE["list to concatenate"]))


def test_an_mp4_that_names_another_file_does_not_open_it(tmp_path: Path) -> None:
    """GIVEN a data reference to a file (QuickTime reference movies) THEN it is not followed."""
    data = bytearray(make_barcoded(tmp_path / "a.mp4", seconds=1).read_bytes())
    at = data.index(b"dref")
    flags = at + 4 + 4 + 4 + 8 + 3
    assert data[flags] == 1, "self-contained"
    data[flags] = 0
    with pytest.raises(MediaError):
        run(Bytes(bytes(data[: data.index(b"mdat") - 4]) + bytes(data[data.index(b"moov") - 4 :])))


def test_sound_alone_has_no_video(tmp_path: Path) -> None:
    for name, codec in (("a.m4a", "aac"), ("a.mp3", "mp3"), ("a.flac", "flac"), ("a.wav", "pcm_s16le")):
        with pytest.raises(NoVideo, match="no video track"):
            run(Bytes(make_sound(tmp_path / name, codec=codec).read_bytes()))


def test_a_cover_is_no_video(tmp_path: Path) -> None:
    """GIVEN music with a picture of its album (ID3 version 2.3, APIC) THEN that is not a film."""
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, "JPEG")
    body = b"\0image/jpeg\0\3\0" + picture.getvalue()
    frame = b"APIC" + len(body).to_bytes(4, "big") + b"\0\0" + body
    size = bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0))
    sound = make_sound(tmp_path / "a.mp3", codec="mp3").read_bytes()
    sound = sound[sound.index(b"\xff\xfb") :]
    with pytest.raises(NoVideo):
        run(Bytes(b"ID3\3\0\0" + size + frame + sound))


def test_empty_files_and_zeros_are_corrupt() -> None:
    with pytest.raises(Corrupt, match="empty"):
        run(Bytes(b""))
    with pytest.raises(Corrupt, match="zeros"):
        run(Bytes(bytes(100_000)))


def test_a_video_without_frames_is_too_short(tmp_path: Path) -> None:
    options = {"movflags": "frag_keyframe+empty_moov"}
    data = make_barcoded(tmp_path / "a.mp4", seconds=1, container_options=options).read_bytes()
    with pytest.raises(TooShort):
        run(Bytes(data[: data.index(b"moof") - 4]))


def test_giants_are_refused_before_they_are_decoded(whole: Callable[[str], bytes]) -> None:
    with pytest.raises(TooLarge, match="284x160"):
        run(Bytes(whole("a.mp4")), limits=Limits(pixels=284 * 160 - 1))
    assert run(Bytes(whole("a.mp4")), limits=Limits(pixels=320 * 176))


def test_a_giant_that_hides_its_size_is_not_decoded(
    whole: Callable[[str], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """GIVEN a stream larger than its container says THEN the decoder itself refuses it."""
    monkeypatch.setattr(Media, "_refuse_giants", lambda *_: None)
    with pytest.raises(Corrupt):
        Media(SourceFile(Bytes(whole("a.mp4"))), 284 * 160 - 1).first_frame()


@pytest.mark.parametrize(
    "error",
    [
        ObjectNotFound(bucket="b", key="k"),
        ObjectChanged(bucket="b", key="k", etag="e"),
        StorageUnavailable(bucket="b", action="read", key="k", reason="no answer"),
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_errors_of_the_reader_come_out_as_they_are(
    tmp_path: Path, whole: Callable[[str], bytes], name: str, error: FilmstripError
) -> None:
    """Whichever of the reads it is that fails."""
    data = whole(name)
    counting = Bytes(data)
    run(counting, replace(BASIC, accuracy="exact"))
    for reads in range(counting.calls):
        with pytest.raises(type(error)) as raised:
            run(Bytes(data, error, fails_after=reads), replace(BASIC, accuracy="exact"))
        assert raised.value is error


def test_errors_of_emit_come_out_as_they_are(whole: Callable[[str], bytes]) -> None:
    error = StorageUnavailable(bucket="b", action="put", key="k", reason="no answer")

    def refuse(sheet: Sheet) -> None:
        raise error

    with pytest.raises(StorageUnavailable) as raised:
        capture(Bytes(whole("a.mp4")), BASIC, sheet_name=str, emit=refuse, source={})
    assert raised.value is error
