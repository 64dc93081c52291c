"""What the decoder may use. A video that needs more fails by name; nothing else suffers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    pixels: int = 8192 * 8192
    """Of a frame: more is refused before anything is decoded."""
    memory: int = 1536 << 20
    """Bytes of address space: code, libraries and the stacks of threads count too."""
    pictures: int = 200 << 20
    """Bytes of decoded pictures that all decoders together may hold: what decides how many there are."""
    cpu: int = 900
    """Seconds."""
    silence: float = 60.0
    """Seconds without an answer while one is waited for."""
