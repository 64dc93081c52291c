"""A video to show Filmstrip with: four scenes that move, and a large clock to check the tiles against."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from PIL import Image, ImageDraw, ImageFont

VIDEO_WIDTH, VIDEO_HEIGHT = 1280, 720
WIDTH, HEIGHT = 960, 540
"""What is drawn, and then enlarged: drawing is the most of the work."""
RATE = 20
SCENE = 12
"""Seconds of one scene."""
GOP = 2 * RATE

Scene = Callable[[ImageDraw.ImageDraw, float], None]
"""Draws a moment, in seconds since the scene began."""


def make(path: Path, *, seconds: int = 75, progress: Callable[[int, int], None] | None = None) -> Path:
    """Writes an H.264 MP4 of 1280x720 at 20 frames a second; `progress` gets frames done and frames in all."""
    total = seconds * RATE
    options = {"preset": "ultrafast", "crf": "27"}
    painter = _Painter()
    scaler = VideoReformatter()
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as output:
        stream = cast(VideoStream, output.add_stream("libx264", rate=RATE, options=options))
        stream.width, stream.height, stream.pix_fmt = VIDEO_WIDTH, VIDEO_HEIGHT, "yuv420p"
        stream.codec_context.gop_size = GOP
        with ThreadPoolExecutor(1) as pencil:  # draws the next picture while this one is encoded
            drawing = pencil.submit(painter.draw, 0)
            for number in range(total):
                picture = VideoFrame.from_image(drawing.result())
                drawing = pencil.submit(painter.draw, number + 1)
                frame = scaler.reformat(picture, VIDEO_WIDTH, VIDEO_HEIGHT, "yuv420p")
                frame.pts, frame.time_base = number, Fraction(1, RATE)
                output.mux(stream.encode(frame))
                if progress is not None:
                    progress(number + 1, total)
        output.mux(stream.encode(None))
    return path


class _Painter:
    def __init__(self) -> None:
        self._skies = [_sky(*colors) for colors, _ in SCENES]
        self._font = ImageFont.load_default(112)

    def draw(self, number: int) -> Image.Image:
        scene, within = divmod(number, SCENE * RATE)
        image = self._skies[scene % len(SCENES)].copy()
        pen = ImageDraw.Draw(image)
        SCENES[scene % len(SCENES)][1](pen, within / RATE)
        tenths = number * 10 // RATE
        clock = f"{tenths // 600:02}:{tenths // 10 % 60:02}.{tenths % 10}"
        place = (WIDTH / 2, HEIGHT - 82)
        pen.text(place, clock, "white", self._font, "mm", stroke_width=6, stroke_fill="black")
        return image


def _sky(top: str, bottom: str) -> Image.Image:
    gradient = Image.linear_gradient("L").resize((WIDTH, HEIGHT))
    return Image.composite(
        Image.new("RGB", gradient.size, bottom), Image.new("RGB", gradient.size, top), gradient
    )


def _sunrise(pen: ImageDraw.ImageDraw, time: float) -> None:
    x, y = 105 + time * 64, 350 - 247 * math.sin(math.pi * time / SCENE)
    for radius, color in ((90, "#ffb347"), (71, "#ffcc66"), (52, "#fff2c4")):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), color)
    for depth, color in enumerate(("#7a5c8f", "#5a4478", "#3b2d57")):
        shift = time * (15 + 19 * depth)
        pen.polygon(_ground(322 + depth * 60, (38, 112 - 19 * depth, shift), (16, 35, shift)), color)


def _city(pen: ImageDraw.ImageDraw, time: float) -> None:
    for number in range(18):
        x = (number * 73 - time * 45) % (WIDTH + 90) - 82
        top = 98 + number * 50 % 195
        pen.rectangle((x, top, x + 68, HEIGHT), "#16203a", "#0c1226")
        for window in range(40):
            row, column = divmod(window, 4)
            if (number * 7 + window * 5 + int(time * 1.5) * (window % 3)) % 4:
                left, upper = x + 8 + column * 15, top + 10 + row * 26
                pen.rectangle((left, upper, left + 8, upper + 14), "#ffd977")
    pen.rectangle((0, 480, WIDTH, HEIGHT), "#0a0d18")
    for number, color in enumerate(("#d1495b", "#edae49", "#66a182", "#2e86ab")):
        x = (number * 285 + time * 195) % (WIDTH + 120) - 120
        pen.rounded_rectangle((x, 441, x + 112, 474), 12, color)
        for wheel in (x + 14, x + 74):
            pen.ellipse((wheel, 462, wheel + 24, 486), "black")


def _sea(pen: ImageDraw.ImageDraw, time: float) -> None:
    for depth in range(7):
        level, length = 225 + depth * 45, 52 + 7 * depth
        color = f"#{8 * depth:02x}{150 - 15 * depth:02x}{190 - 12 * depth:02x}"
        pen.polygon(_ground(level, (12, length, time * length * (1.2 + depth / 4))), color)
        if depth == 2:
            x, y = 90 + time * 64, level - 8 + 10 * math.sin(time * 2)
            pen.polygon([(x - 68, y), (x + 68, y), (x + 45, y + 34), (x - 45, y + 34)], "#7b3f20")
            pen.polygon([(x, y - 142), (x, y - 9), (x + 71, y - 9)], "#fff6e5")
            pen.polygon([(x - 6, y - 128), (x - 6, y - 9), (x - 56, y - 9)], "#f2d0a4")


def _balloons(pen: ImageDraw.ImageDraw, time: float) -> None:
    for number in range(9):
        x = 68 + number * 105 + 22 * math.sin(time + number)
        y = (465 + number * 158 - time * (38 + number % 4 * 16)) % 645 - 82
        color = ("#e63946", "#f4a261", "#2a9d8f", "#e9c46a", "#9d4edd")[number % 5]
        pen.line((x, y + 52, x + 6 * math.sin(time * 2 + number), y + 112), "#444444", 2)
        pen.ellipse((x - 41, y - 52, x + 41, y + 52), color)
        pen.ellipse((x - 22, y - 36, x - 6, y - 10), "#ffffff")


def _ground(level: float, *waves: tuple[float, float, float]) -> list[tuple[float, float]]:
    """The outline of everything below a curve: a level and waves (height, length, shift) on it, in pixels."""
    curve = [
        (at, level + sum(height * math.sin((at + shift) / length) for height, length, shift in waves))
        for at in range(0, WIDTH + 16, 16)
    ]
    return [(0, HEIGHT), *curve, (WIDTH, HEIGHT)]


SCENES: list[tuple[tuple[str, str], Scene]] = [
    (("#2b3a67", "#f08a5d"), _sunrise),
    (("#0b132b", "#3a506b"), _city),
    (("#8ecae6", "#fdf0d5"), _sea),
    (("#bde0fe", "#ffc8dd"), _balloons),
]
