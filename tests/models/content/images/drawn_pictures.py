"""Pictures that tests draw: four quarters of known colours, saved in the formats that come in."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

RED, GREEN, BLUE, WHITE = (200, 30, 30), (30, 160, 40), (30, 40, 180), (255, 255, 255)
QUARTERS = (RED, GREEN, BLUE, WHITE)
"""Top left, top right, bottom left, bottom right."""


def quarters(width: int = 64, height: int = 64) -> Image.Image:
    image = Image.new("RGB", (width, height))
    x, y = width // 2, height // 2
    for colour, corner in zip(QUARTERS, ((0, 0), (x, 0), (0, y), (x, y)), strict=True):
        image.paste(colour, (*corner, corner[0] + x, corner[1] + y))
    return image


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    into = BytesIO()
    image.save(into, kind, **options)
    return into.getvalue()


def corners(pixels: np.ndarray) -> list[tuple[int, ...]]:
    """The colours in the middle of the four quarters, in the order of `QUARTERS`."""
    near, far = len(pixels) // 4, len(pixels) * 3 // 4
    return [tuple(map(int, pixels[y, x])) for y in (near, far) for x in (near, far)]


def is_near(found: list[tuple[int, ...]], expected: list[tuple[int, ...]], by: int = 4) -> bool:
    """Whether colours are the same but for what lossy formats do to them."""
    return bool((np.abs(np.array(found) - np.array(expected)) <= by).all())


def png_header(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and has a few bytes of pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
