"""A decoded frame scaled to the size it has on its tile, as raw pixels. Turning and framing is the parent's."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from lib.sprites.plan import Size, fit

ACCURATE = 0x40000 | 0x2000 | 0x4000
"""SWS_ACCURATE_RND, SWS_FULL_CHR_H_INT, SWS_FULL_CHR_H_INP: no chroma is dropped before scaling."""
RGB, BT709, UNSPECIFIED, BT470, BT601 = 0, 1, 2, 5, 6
"""AVCOL_SPC numbers. The scaler forgets to go back to 5 once it had another one; 6 has the same matrix."""
HD_HEIGHT, HD_WIDTH = 720, 1280
"""Video that does not name its colour matrix is BT.709 from here on, BT.601 below."""


@dataclass(frozen=True)
class Orientation:
    rotation: int = 0
    """Degrees clockwise."""
    mirrored: bool = False
    """Left and right swapped before it is turned."""

    @property
    def sideways(self) -> bool:
        return self.rotation in (90, 270)


def orientation(frame: VideoFrame) -> Orientation:
    """From the display matrix: nine numbers of which the first two rows' first two turn and mirror."""
    data = next((each for each in frame.side_data if each.type is SideDataType.DISPLAYMATRIX), None)  # type: ignore[attr-defined]
    if data is None:
        return Orientation()
    a, b, _, c, d = struct.unpack_from("=5i", memoryview(data))  # type: ignore[arg-type]
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    if not a and not b:
        return Orientation()
    turned = math.degrees(math.atan2(b, a))
    return Orientation(round(turned / 90) * 90 % 360, mirrored)


def display_size(frame: VideoFrame, pixel_aspect: Fraction | None, turn: Orientation) -> Size:
    """The size at which players show it: square pixels, upright."""
    width, height = frame.width, frame.height
    if pixel_aspect and pixel_aspect > 0:
        if pixel_aspect >= 1:
            width = round(width * pixel_aspect)
        else:
            height = round(height / pixel_aspect)
    return (height, width) if turn.sideways else (width, height)


class Painter:
    """Scales frames to the size that they have on a tile."""

    def __init__(
        self, tile: Size, fill: str, pixel_aspect: Fraction | None, colour: Mapping[str, Any] | None = None
    ) -> None:
        """`colour`: matrix and full_range as the container tells them, for frames that do not."""
        self._tile = tile
        self._fill = fill
        self._pixel_aspect = pixel_aspect
        self._colour = colour or {"matrix": UNSPECIFIED, "full_range": False}
        self._scaler = VideoReformatter()

    def draw(self, frame: VideoFrame, turn: Orientation) -> tuple[dict[str, Any], memoryview]:
        """The pixels, not turned yet, and what the parent has to know of them."""
        size = fit(display_size(frame, self._pixel_aspect, turn), self._tile, self._fill)
        if turn.sideways:
            size = size[::-1]
        transparent = any(component.is_alpha for component in frame.format.components)
        scaled = self._scaler.reformat(
            frame,
            *size,
            format="rgba" if transparent else "rgb24",
            src_colorspace=self._matrix(frame),
            dst_colorspace=BT470,
            interpolation=Interpolation.AREA | ACCURATE,
            src_color_range=ColorRange.JPEG if self._is_full_range(frame) else ColorRange.MPEG,
        )
        plane = scaled.planes[0]
        head = {
            "size": size,
            "stride": plane.line_size,
            "mode": "RGBA" if transparent else "RGB",
            "rotation": turn.rotation,
            "mirrored": turn.mirrored,
        }
        return head, memoryview(plane)

    def _matrix(self, frame: VideoFrame) -> int:
        if frame.colorspace == RGB or frame.format.name.startswith(("rgb", "bgr", "gbr", "pal")):
            return BT601
        matrix = frame.colorspace if frame.colorspace != UNSPECIFIED else self._colour["matrix"]
        if matrix == UNSPECIFIED:
            large = frame.height >= HD_HEIGHT or frame.width >= HD_WIDTH
            return BT709 if large else BT601
        return BT601 if matrix == BT470 else int(matrix)

    def _is_full_range(self, frame: VideoFrame) -> bool:
        if frame.color_range == ColorRange.UNSPECIFIED and self._colour["full_range"]:
            return True
        return frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
