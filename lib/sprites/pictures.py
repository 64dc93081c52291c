"""A decoded frame as a small upright picture with square pixels, and the tile around it."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from fractions import Fraction

from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from PIL import Image, ImageFilter, ImageOps

from lib.sprites.plan import Size, fit

ACCURATE = 0x40000 | 0x2000 | 0x4000
"""SWS_ACCURATE_RND, SWS_FULL_CHR_H_INT, SWS_FULL_CHR_H_INP: no chroma is dropped before scaling."""
RGB, BT709, UNSPECIFIED, BT470, BT601 = 0, 1, 2, 5, 6
"""AVCOL_SPC numbers. The scaler forgets to go back to 5 once it had another one; 6 has the same matrix."""
HD_HEIGHT, HD_WIDTH = 720, 1280
"""Video that does not name its colour matrix is BT.709 from here on, BT.601 below."""

TURNS = {
    90: Image.Transpose.ROTATE_270,  # Pillow turns counterclockwise
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_90,
}


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


def display_size(frame: VideoFrame, pixel_aspect: Fraction | None) -> Size:
    """The size at which players show it: square pixels, upright."""
    width, height = frame.width, frame.height
    if pixel_aspect and pixel_aspect > 0:
        if pixel_aspect >= 1:
            width = round(width * pixel_aspect)
        else:
            height = round(height / pixel_aspect)
    return (height, width) if orientation(frame).sideways else (width, height)


class Painter:
    """Draws frames as pictures that fit a tile."""

    def __init__(self, tile: Size, fill: str, pixel_aspect: Fraction | None) -> None:
        self.tile = tile
        self._fill = fill
        self._pixel_aspect = pixel_aspect
        self._scaler = VideoReformatter()

    def draw(self, frame: VideoFrame) -> Image.Image:
        """The picture, as large as it is on the tile."""
        turn = orientation(frame)
        size = fit(display_size(frame, self._pixel_aspect), self.tile, self._fill)
        image = self._scaled(frame, size[::-1] if turn.sideways else size)
        if turn.mirrored:
            image = ImageOps.mirror(image)
        return image.transpose(TURNS[turn.rotation]) if turn.rotation else image

    def frame_in(self, picture: Image.Image) -> Image.Image:
        """The tile: the picture in its middle, with the definition's filling around it."""
        if picture.size == self.tile:
            return picture
        if self._fill == "gauss":
            tile = ImageOps.fit(picture, self.tile).filter(ImageFilter.GaussianBlur(max(self.tile) / 20))
        else:
            tile = Image.new("RGB", self.tile, self._fill)
        left, top = ((side - length) // 2 for side, length in zip(self.tile, picture.size, strict=True))
        tile.paste(picture, (left, top))
        return tile

    def _scaled(self, frame: VideoFrame, size: Size) -> Image.Image:
        transparent = any(component.is_alpha for component in frame.format.components)
        name = "rgba" if transparent else "rgb24"
        scaled = self._scaler.reformat(
            frame,
            *size,
            format=name,
            src_colorspace=_matrix(frame),
            dst_colorspace=BT470,
            interpolation=Interpolation.AREA | ACCURATE,
            src_color_range=ColorRange.JPEG if _is_full_range(frame) else ColorRange.MPEG,
        )
        plane, mode = scaled.planes[0], "RGBA" if transparent else "RGB"
        image = Image.frombytes(mode, size, bytes(plane), "raw", mode, plane.line_size, 1)
        if transparent:
            return Image.alpha_composite(Image.new("RGBA", size, "black"), image).convert("RGB")
        return image


def _matrix(frame: VideoFrame) -> int:
    if frame.colorspace == RGB or frame.format.name.startswith(("rgb", "bgr", "gbr", "pal")):
        return BT601
    if frame.colorspace == UNSPECIFIED:
        large = frame.height >= HD_HEIGHT or frame.width >= HD_WIDTH
        return BT709 if large else BT601
    return BT601 if frame.colorspace == BT470 else frame.colorspace


def _is_full_range(frame: VideoFrame) -> bool:
    return frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
