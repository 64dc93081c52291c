"""Every tile shows the frame that the manifest names, and that is the frame a player would show.

The videos carry bar codes of their own times; what should be shown is told by decoding the whole file.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image, ImageChops, ImageStat

from lib.sprites import Definition, Manifest, capture, reading
from lib.sprites.sheets import Sheet
from tests.videos import Bytes, hide_beginning, make_barcoded, read_barcode, set_matrix

BASIC = Definition(number=1, name="a tile a second", interval=1, rows=3, columns=4, format="png")
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
VARIABLE = [n / 30 for n in range(150)] + [5 + n / 7 for n in range(32)] + [9.6 + n / 30 for n in range(40)]

VIDEOS: dict[str, dict[str, Any]] = {
    "short_gop.mp4": {"gop": 10},
    "long_gop.mp4": {"gop": 250, "seconds": 14, "b_frames": 3},
    "b_frames.mp4": {"gop": 30, "b_frames": 2},
    "index_in_front.mp4": {"gop": 40, "container_options": {"movflags": "faststart"}},
    "variable_rate.mp4": {"times": VARIABLE, "gop": 40, "b_frames": 2},
    "variable_rate.mkv": {"times": VARIABLE, "gop": 40, "b_frames": 2},
    "sound_goes_on.mp4": {"seconds": 6, "audio": 9},
    "sound_goes_on.mkv": {"seconds": 6, "audio": 9},
    "starts_at_3.mp4": {"start": 3, "seconds": 6},
    "edited.mp4": {"hidden": 4.2, "gop": 50, "b_frames": 2},
    "fragmented.mp4": {"gop": 50, "b_frames": 2, "container_options": FRAGMENTS},
    "no_index.mkv": {"gop": 50, "container_options": {"live": "1"}},
    "no_stream_duration.mkv": {"gop": 40, "b_frames": 2},
    "starts_at_10.ts": {"start": 10, "gop": 60, "b_frames": 2},
    "with_sound.ts": {"start": 10, "gop": 60, "b_frames": 2, "audio": 10},
    "sparse_keys.ts": {"gop": 200},
    "program.mpg": {"codec": "mpeg2video", "container": "dvd", "gop": 12, "b_frames": 2},
    "with_sound.mpg": {"codec": "mpeg2video", "container": "vob", "gop": 100, "b_frames": 2, "audio": 11},
    "vp9.webm": {"codec": "libvpx-vp9", "gop": 60},
    "hevc.mp4": {"codec": "libx265", "gop": 50, "b_frames": 2},
    "av1.mp4": {"codec": "libsvtav1", "gop": 50},
    "av1.webm": {"codec": "libsvtav1", "gop": 50},
    "mpeg4.avi": {"codec": "mpeg4", "gop": 50},
    "h264.flv": {"gop": 50, "b_frames": 2},
    "all_intra.mov": {"codec": "mjpeg", "pix_fmt": "yuvj420p", "seconds": 5},
    "animation.gif": {"codec": "gif", "pix_fmt": "rgb8", "fps": 10, "seconds": 5},
    "ten_bits.mp4": {"pix_fmt": "yuv420p10le", "seconds": 5},
    "intra_refresh.mp4": {"gop": 40, "options": {"preset": "ultrafast", "x264-params": "intra-refresh=1"}},
    "open_gop.mp4": {
        "gop": 40,
        "b_frames": 3,
        "options": {"preset": "ultrafast", "x264-params": "open-gop=1"},
    },
    "one_frame.mp4": {"times": [0.0]},
    "turned.mp4": {"rotation": 90, "seconds": 3},
    "turned_left.mp4": {"rotation": 270, "seconds": 3},
    "upside_down.mp4": {"rotation": 180, "seconds": 3},
    "narrow_pixels.mp4": {"size": (142, 160), "sar": Fraction(2, 1), "seconds": 3},
}


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("barcoded")

    def get(name: str) -> Path:
        path = folder / name
        if not path.exists():
            make_barcoded(path, **{"seconds": 10, **VIDEOS[name]})
            if "hidden" in VIDEOS[name]:
                hide_beginning(path, VIDEOS[name]["hidden"])
        return path

    return get


@dataclass
class Captured:
    manifest: Manifest
    sheets: list[Sheet]

    def pictures(self) -> list[Image.Image]:
        images = [Image.open(io.BytesIO(sheet.data)) for sheet in self.sheets]
        return [
            images[tile.sheet].crop((tile.x, tile.y, tile.x + tile.width, tile.y + tile.height))
            for tile in self.manifest.tiles
        ]


def run(data: bytes, definition: Definition = BASIC) -> Captured:
    sheets: list[Sheet] = []
    manifest = capture(
        Bytes(data),
        definition,
        sheet_name=lambda n: f"sprite_{n}.{definition.format}",
        emit=sheets.append,
        source={},
    )
    return Captured(manifest, sheets)


@dataclass
class Truth:
    frames: list[Fraction]  # on the player's clock, ascending
    keys: list[Fraction]
    lead: Fraction
    """What the player's clock is ahead of the bar codes: sound that starts before the picture."""
    tick: Fraction

    def exact(self, instant: Fraction) -> Fraction:
        return max((each for each in self.frames if each <= instant), default=self.frames[0])

    def distance_to_key(self, instant: Fraction) -> Fraction:
        return min(abs(key - instant) for key in self.keys)


def truth(path: Path) -> Truth:
    """The whole file decoded from the beginning, without any seeking."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        assert stream.start_time is not None
        stream.thread_type = "FRAME"  # decoding HEVC by slices hangs now and then (FFmpeg 7.1)
        tick = Fraction(stream.time_base)
        starts = [
            each.start_time * each.time_base
            for each in container.streams
            if each.type in ("video", "audio") and each.start_time is not None and each.time_base
        ]
        base = max(min(starts), Fraction(0))
        frames = [(frame.pts * tick - base, frame.key_frame) for frame in container.decode(stream)]
        lead = stream.start_time * tick - base
    return Truth(
        sorted(time for time, _ in frames),
        sorted(time for time, key in frames if key),
        lead if path.suffix in (".ts", ".mpg") else Fraction(0),
        tick,
    )


@pytest.mark.parametrize("accuracy", ["exact", "auto", "keyframe"])
@pytest.mark.parametrize("name", VIDEOS)
def test_each_tile_shows_its_frame(video: Callable[[str], Path], name: str, accuracy: str) -> None:
    # GIVEN a video whose frames carry their times
    path = video(name)
    expected = truth(path)
    # WHEN it is captured
    captured = run(path.read_bytes(), replace(BASIC, accuracy=accuracy))
    manifest = captured.manifest
    # THEN all tiles are there
    assert (manifest.outcome, manifest.coverage) == ("complete", 1.0)
    assert len(manifest.tiles) == int(Fraction(str(manifest.source.duration))) + 1
    assert manifest.source.duration >= float(expected.frames[-1])
    assert manifest.source.duration - float(expected.frames[-1]) < 1
    for tile, picture in zip(manifest.tiles, captured.pictures(), strict=True):
        # AND each picture is the frame that the manifest names
        code = read_barcode(picture)
        assert code is not None, f"tile {tile.index} shows no code"
        assert abs(code / 1000 + float(expected.lead) - tile.frame) <= 0.001
        # AND that frame is the one that the accuracy asks for
        instant, frame = Fraction(str(tile.instant)), Fraction(str(tile.frame))
        exact = abs(frame - expected.exact(instant)) < expected.tick
        nearest = abs(frame - instant) <= expected.distance_to_key(instant) + expected.tick
        if accuracy == "exact":
            assert exact
        elif accuracy == "auto":
            in_slot = instant - Fraction(1, 2) <= frame < instant + Fraction(1, 2)
            assert exact or (nearest and in_slot)
        else:
            assert nearest or name == "intra_refresh.mp4" or "hidden" in VIDEOS[name]
    errors = [abs(tile.frame - tile.instant) for tile in manifest.tiles]
    assert manifest.max_error == pytest.approx(max(errors), abs=1e-6)


def test_key_frames_are_enough_where_they_are_near(video: Callable[[str], Path]) -> None:
    """`auto` decodes forward only where it must."""
    auto = run(video("b_frames.mp4").read_bytes()).manifest
    keys = truth(video("b_frames.mp4")).keys
    for tile in auto.tiles:
        instant = Fraction(str(tile.instant))
        if any(instant - Fraction(1, 2) <= key < instant + Fraction(1, 2) for key in keys):
            assert min(abs(Fraction(str(tile.frame)) - key) for key in keys) < Fraction(1, 10000)


def test_the_tolerance_is_the_users(video: Callable[[str], Path]) -> None:
    data = video("long_gop.mp4").read_bytes()
    strict = run(data, replace(BASIC, tolerance=0.0)).manifest
    loose = run(data, replace(BASIC, tolerance=3.0)).manifest
    assert strict.max_error <= 0.04
    assert [tile.frame for tile in loose.tiles[:4]] == [0, 0, 0, 0]
    assert loose.tiles[5].frame == 5
    assert loose.tiles[8].frame == 10


def test_percent(video: Callable[[str], Path]) -> None:
    definition = replace(BASIC, sampling="percent", interval=7, accuracy="exact")
    captured = run(video("starts_at_10.ts").read_bytes(), definition)
    assert [tile.instant for tile in captured.manifest.tiles] == [round(0.7 * k, 6) for k in range(15)]
    for tile, picture in zip(captured.manifest.tiles, captured.pictures(), strict=True):
        code = read_barcode(picture)
        assert code is not None
        assert code / 1000 <= tile.instant < code / 1000 + 0.04


def test_instants_close_together_are_decoded_in_one_run(video: Callable[[str], Path]) -> None:
    """GIVEN two key frames and a hundred and forty tiles THEN the file is read about once."""
    data = video("long_gop.mp4").read_bytes()
    captured = run(data, replace(BASIC, interval=0.1, rows=10, columns=10, accuracy="exact"))
    assert [tile.frame for tile in captured.manifest.tiles][:4] == [0, 0.08, 0.2, 0.28]
    assert [sheet.tiles for sheet in captured.manifest.sheets] == [100, 41]
    assert captured.manifest.read.bytes <= len(data) + 64 * 1024


def test_sheets_are_emitted_as_they_are_made(video: Callable[[str], Path]) -> None:
    happened: list[str] = []
    reader = Bytes(video("short_gop.mp4").read_bytes())
    manifest = capture(
        reader,
        replace(BASIC, rows=2, columns=2),
        sheet_name=lambda n: f"s{n}.png",
        emit=lambda sheet: happened.append(sheet.name),
        source={"bucket": "b", "key": "in/a.mp4", "etag": "abc"},
        progress=lambda done, total: happened.append(f"{done}/{total}"),
    )
    expected = ["0/11"]
    for sheet, tiles in enumerate([(1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11)]):
        expected += [f"{done}/11" for done in tiles] + [f"s{sheet}.png"]
    assert happened == expected
    assert (manifest.source.bucket, manifest.source.key, manifest.source.etag) == ("b", "in/a.mp4", "abc")
    assert (manifest.read.bytes, manifest.read.requests) == (reader.bytes, reader.requests)
    assert manifest.source.size == reader.size


@pytest.mark.parametrize("name", ["turned.mp4", "turned_left.mp4", "upside_down.mp4"])
def test_rotation_is_told_as_ffmpeg_sees_it(video: Callable[[str], Path], name: str) -> None:
    manifest = run(video(name).read_bytes()).manifest
    with av.open(str(video(name))) as container:
        counterclockwise = next(container.decode(video=0)).rotation
    assert manifest.source.rotation == -counterclockwise % 360 == VIDEOS[name]["rotation"]


@pytest.mark.parametrize(
    ("matrix", "turn"),
    [
        ((-1, 0, 0, 1), Image.Transpose.FLIP_LEFT_RIGHT),
        ((1, 0, 0, -1), Image.Transpose.FLIP_TOP_BOTTOM),
        ((0, 1, 1, 0), Image.Transpose.TRANSPOSE),
        ((0, -1, -1, 0), Image.Transpose.TRANSVERSE),
        ((0, 1, -1, 0), Image.Transpose.ROTATE_270),
        ((-1, 0, 0, -1), Image.Transpose.ROTATE_180),
    ],
)
def test_mirrors_and_turns(tmp_path: Path, matrix: tuple[int, ...], turn: Image.Transpose) -> None:
    """Every display matrix of whole quarter turns, as ISO/IEC 14496-12 multiplies it: (x, y) times the matrix."""
    path = make_barcoded(tmp_path / "a.mp4", times=[0.0])
    definition = replace(BASIC, width=0, height=0, columns=1)
    straight = run(path.read_bytes(), definition).pictures()[0]
    set_matrix(path, *matrix)
    turned = run(path.read_bytes(), definition).pictures()[0]
    expected = straight.transpose(turn)
    assert turned.size == expected.size
    assert ImageStat.Stat(ImageChops.difference(turned, expected)).mean[0] < 3


def test_a_large_file_is_not_read_whole(tmp_path: Path) -> None:
    """GIVEN two minutes in which a tile needs one key frame of many THEN most of the file stays unread."""
    noise = {"preset": "ultrafast", "qp": "8"}
    path = make_barcoded(tmp_path / "a.mp4", seconds=120, fps=10, gop=10, size=(568, 320), options=noise)
    data = path.read_bytes()
    manifest = run(data, replace(BASIC, interval=20)).manifest
    assert len(manifest.tiles) == 7
    assert manifest.read.bytes < len(data) / 3


@pytest.mark.parametrize("accuracy", ["auto", "exact", "keyframe"])
@pytest.mark.parametrize("suffix", ["ts", "mp4", "mkv"])
def test_what_is_read_grows_with_the_file_and_not_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, accuracy: str
) -> None:
    """GIVEN one key frame at the very beginning and hardly any cache THEN nothing is searched again and again."""
    monkeypatch.setattr(reading, "CACHED_BLOCKS", 16)
    options = {"preset": "ultrafast", "qp": "6"}
    path = make_barcoded(tmp_path / f"a.{suffix}", seconds=60, fps=10, gop=10_000, options=options)
    data = path.read_bytes()
    manifest = run(data, replace(BASIC, interval=2, rows=10, columns=10, accuracy=accuracy)).manifest
    assert len(manifest.tiles) == 31
    assert len(data) > 3 * 16 * reading.BLOCK
    assert manifest.read.bytes < 12 * len(data)
