"""Damaged files, and everything an index can be asked of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from lib.sprites.indexes import ByteRange, Fetch, Index, NoIndex
from tests.unit.sprites.indexes.demuxed import HEAD

Open = Callable[[Fetch, int, bytes], Index]
MAX_CALLS = 400


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Some bytes changed: half of them where the tables are."""
    broken = bytearray(data)
    tables = [at for kind in (b"moov", b"moof", b"sidx", b"mfra") if (at := data.find(kind)) >= 0]
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(len(data))
        if chance.random() < 0.7:
            at = min(len(data) - 1, chance.choice(tables) + chance.randrange(1500))
        broken[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256), broken[at] ^ 1))
    return bytes(broken)


def exercise(open_index: Open, data: bytes) -> None:
    """NoIndex, or an index whose every method gives something bounded or NoIndex."""
    calls = 0

    def fetch(ranges: Sequence[ByteRange]) -> list[bytes]:
        nonlocal calls
        calls += 1
        assert calls < MAX_CALLS, "it never stops reading"
        assert all(0 <= start <= stop <= len(data) for start, stop in ranges)
        return [data[start:stop] for start, stop in ranges]

    try:
        index = open_index(fetch, len(data), data[:HEAD])
    except NoIndex:
        return
    assert list(index.times) == sorted(index.times)
    for key in {0, len(index.times) // 2, len(index.times) - 1}:
        try:
            start, stop = index.guess(key)
            for _ in range(8):
                (piece,) = fetch([(start, stop)])
                found = index.take(key, start, piece)
                if not isinstance(found, tuple):
                    break
                start, stop = found
            else:
                raise AssertionError("the index never has enough")
            given = sum(len(sample.data) for sample in index.run(key, index.track.end, fetch))
            assert given <= 4 * len(data)
        except NoIndex:
            continue
