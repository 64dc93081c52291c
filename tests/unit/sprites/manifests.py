"""Manifests for tests, with no video behind them."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import strategies as st

from lib.sprites import PRESET_10, Manifest, Read, SheetEntry, Source, Tile


def manifest(
    count: int, *, step: float = 10.0, duration: float | None = None, name: str = "sprite_{}.jpg"
) -> Manifest:
    """So many tiles on sheets of ten by ten, `step` seconds apart."""
    exact = Fraction(str(step))
    tiles = tuple(
        Tile(
            index=index,
            instant=round(float(exact * index), 6),
            frame=round(float(exact * index), 6),
            sheet=index // 100,
            x=index % 10 * 142,
            y=index % 100 // 10 * 80,
            width=142,
            height=80,
            color="#102030",
        )
        for index in range(count)
    )
    sheets = tuple(
        SheetEntry(name.format(number), 1420, 800, min(100, count - number * 100))
        for number in range(-(-count // 100))
    )
    length = float(exact * (count - 1)) if duration is None else duration
    source = Source("bucket-1250000000", "in/a.mp4", "e" * 32, 1000, length, 1920, 1080, 0, "h264", "mp4")
    definition = PRESET_10.to_dict()
    return Manifest("complete", 1.0, "auto", 0.5, 0, source, definition, sheets, tiles, Read(1000, 3))


def manifests() -> st.SearchStrategy[Manifest]:
    names = st.text(st.characters(exclude_characters="{}", exclude_categories=["Cs"]), max_size=12)
    return st.builds(
        lambda count, step, more, name: manifest(
            count, step=step / 1000, duration=step / 1000 * (count - 1) + more, name=name + "_{}.jpg"
        ),
        st.integers(1, 230),
        st.integers(1, 60_000),
        st.floats(0, 60),
        names,
    )
