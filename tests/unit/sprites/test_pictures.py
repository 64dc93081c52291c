"""Colours and shapes of single frames."""

from __future__ import annotations

from fractions import Fraction

import pytest
from av.video.frame import VideoFrame
from PIL import Image

from lib.sprites.decoder.pictures import Orientation, Painter, display_size
from lib.sprites.tiles import framed, upright

MPEG, JPEG = 1, 2
BT709, UNSPECIFIED, BT601 = 1, 2, 5

# What a colour of RGB is in YCbCr, by the formulas of BT.601 and BT.709 (8 bits).
LUMA = {BT601: (0.299, 0.587, 0.114), BT709: (0.2126, 0.7152, 0.0722)}
COLORS = {"red": (200, 30, 40), "green": (20, 180, 60), "blue": (30, 60, 220), "gray": (128, 128, 128)}


def ycbcr(rgb: tuple[int, int, int], matrix: int, full: bool) -> tuple[float, float, float]:
    weights = LUMA[matrix]
    r, g, b = (each / 255 for each in rgb)
    y = weights[0] * r + weights[1] * g + weights[2] * b
    cb, cr = (b - y) / (2 * (1 - weights[2])), (r - y) / (2 * (1 - weights[0]))
    if full:
        return y * 255, cb * 255 + 128, cr * 255 + 128
    return y * 219 + 16, cb * 224 + 128, cr * 224 + 128


def solid(
    values: tuple[float, float, float], size: tuple[int, int], *, space: int, range: int, deep: bool = False
) -> VideoFrame:
    frame = VideoFrame(*size, "yuv420p10le" if deep else "yuv420p")
    for plane, value in zip(frame.planes, values, strict=True):
        data = round(value * 4).to_bytes(2, "little") if deep else bytes([round(value)])
        plane.update(data * (plane.buffer_size // len(data)))
    frame.colorspace, frame.color_range = space, range
    return frame


def drawn_by(painter: Painter, frame: VideoFrame) -> Image.Image:
    head, pixels = painter.draw(frame, Orientation())
    return upright(head, bytes(pixels))


@pytest.mark.parametrize("name", COLORS)
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", [BT601, BT709], ids=["bt601", "bt709"])
@pytest.mark.parametrize("deep", [False, True], ids=["8 bits", "10 bits"])
def test_colours_come_out_as_they_were(matrix: int, full: bool, deep: bool, name: str) -> None:
    rgb = COLORS[name]
    frame = solid(ycbcr(rgb, matrix, full), (640, 360), space=matrix, range=JPEG if full else MPEG, deep=deep)
    image = drawn_by(Painter((142, 80), "black", None), frame)
    pixel = image.getpixel((70, 40))
    assert isinstance(pixel, tuple)
    assert max(abs(a - b) for a, b in zip(pixel, rgb, strict=True)) <= 4


@pytest.mark.parametrize(
    ("size", "matrix"), [((720, 576), BT601), ((1280, 720), BT709), ((1920, 800), BT709)]
)
def test_a_matrix_that_is_not_told_follows_the_size(size: tuple[int, int], matrix: int) -> None:
    frame = solid(ycbcr(COLORS["red"], matrix, False), size, space=UNSPECIFIED, range=MPEG)
    pixel = drawn_by(Painter((142, 80), "stretch", None), frame).getpixel((70, 40))
    assert isinstance(pixel, tuple)
    assert max(abs(a - b) for a, b in zip(pixel, COLORS["red"], strict=True)) <= 4


def test_one_painter_draws_frames_of_all_kinds_in_turn() -> None:
    """The size, the matrix and the range of a stream may change in its middle."""
    painter = Painter((142, 80), "stretch", None)
    for size in ((640, 360), (1280, 720), (640, 360)):
        for matrix, full in ((BT601, False), (BT709, False), (BT601, True), (BT709, True), (BT601, False)):
            frame = solid(
                ycbcr(COLORS["blue"], matrix, full), size, space=matrix, range=JPEG if full else MPEG
            )
            pixel = drawn_by(painter, frame).getpixel((70, 40))
            assert isinstance(pixel, tuple)
            assert max(abs(a - b) for a, b in zip(pixel, COLORS["blue"], strict=True)) <= 4, (
                size,
                matrix,
                full,
            )


def test_what_is_transparent_is_black() -> None:
    image = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (32, 0, 64, 64))
    frame = VideoFrame(64, 64, "rgba")
    data = image.tobytes()
    line = frame.planes[0].line_size
    frame.planes[0].update(
        b"".join(data[row * 256 : row * 256 + 256].ljust(line, b"\0") for row in range(64))
    )
    drawn = drawn_by(Painter((32, 32), "black", None), frame)
    assert drawn.mode == "RGB"
    assert drawn.getpixel((8, 16)) == (0, 0, 0)
    assert drawn.getpixel((24, 16)) == (0, 0, 255)


@pytest.mark.parametrize(
    ("size", "aspect", "shown"),
    [
        ((720, 576), Fraction(64, 45), (1024, 576)),
        ((176, 144), Fraction(128, 117), (193, 144)),
        ((864, 480), Fraction(80, 81), (864, 486)),
        ((853, 481), Fraction(1), (853, 481)),
        ((853, 481), None, (853, 481)),
        ((853, 481), Fraction(0), (853, 481)),
    ],
)
def test_display_size(size: tuple[int, int], aspect: Fraction | None, shown: tuple[int, int]) -> None:
    assert display_size(VideoFrame(*size, "yuv420p"), aspect, Orientation()) == shown


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 5), (17, 9), (853, 481), (4096, 16), (16, 4096)])
@pytest.mark.parametrize("fill", ["black", "white", "stretch", "gauss"])
def test_odd_and_extreme_sizes(size: tuple[int, int], fill: str) -> None:
    frame = solid(ycbcr(COLORS["green"], BT601, False), size, space=BT601, range=MPEG)
    painter = Painter((143, 81), fill, None)
    tile = framed(drawn_by(painter, frame), (143, 81), fill)
    assert tile.size == (143, 81)
    middle = tile.getpixel((71, 40))
    assert isinstance(middle, tuple)
    assert max(abs(a - b) for a, b in zip(middle, COLORS["green"], strict=True)) <= 4
