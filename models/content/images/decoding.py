"""Bytes of a picture as 8 bit sRGB pixels of a fixed size, or the reason why there are none.

Nothing is believed of what comes in: the format is known by its first bytes, not by its name, and
no other decoder ever runs; the header is looked at before anything is decoded; whatever Pillow
raises or warns of becomes a `Refusal`. What no exception shows, a crash or endless work in a
library, `decoder_process` is for.

Letters: S side of the square that comes out.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageCms

from contracts.errors import UsageError

Status = Literal["empty", "undecodable", "too_large", "truncated", "unsupported"]

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (8, b"WEBP", "WEBP"),
    (0, b"BM", "BMP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"%PDF", "PDF"),
    (0, b"%!PS", "PostScript"),
    (0, b"8BPS", "Photoshop"),
    (0, b"\0\0\1\0", "icon"),
    (0, b"\0\0\0\x0cjP", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftyphe", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftyp", "video"),
    (0, b"II+\0", "BigTIFF"),
    (0, b"MM\0+", "BigTIFF"),
)
"""Where a file says what it is: offset, bytes, format."""
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
"""Formats that are decoded."""
_SVG_WITHIN = 1024
"""Bytes within which an SVG says that it is one: comments may come first."""
_MAX_PROFILE = 1 << 20
"""Bytes of an embedded colour profile beyond which it is left aside; those of cameras and printers
have some hundred to half a million."""
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What EXIF's orientation asks for before a picture is shown (CIPA DC-008, 4.6.5.1.6)."""
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class Refusal:
    """Why a picture has no pixels."""

    status: Status
    reason: str


@dataclass(frozen=True)
class Limits:
    """What a picture may ask for."""

    max_megapixels: float = 50.0
    """Width times height in its header, in millions."""
    max_megabytes: float = 20.0
    """Size of its file, in millions of bytes."""
    max_seconds: float = 10.0
    """Processor time of its decoding, in seconds."""

    def __post_init__(self) -> None:
        for name in ("max_megapixels", "max_megabytes", "max_seconds"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name}: expected more than 0, found {getattr(self, name)}")


@dataclass(frozen=True)
class Framing:
    """How a picture of any shape becomes a square."""

    size: int
    """Side of the square, in pixels."""
    shorter_side: int | None = None
    """Pixels that the shorter side is brought to before the middle is cut out; None: nothing is cut
    off, and both sides are brought to `size`, which stretches."""
    resampling: Literal["bilinear", "bicubic"] = "bilinear"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UsageError(f"size: expected at least 1 pixel, found {self.size}")
        if self.shorter_side is not None and self.shorter_side < self.size:
            raise UsageError(
                f"shorter_side: expected at least size ({self.size}), found {self.shorter_side}"
            )
        if self.resampling not in _FILTERS:
            raise UsageError(
                f"resampling: expected one of {', '.join(_FILTERS)}, found {self.resampling}"
            )


def decode(data: bytes, framing: Framing, limits: Limits | None = None) -> np.ndarray | Refusal:
    """Pixels (S, S, 3), uint8 sRGB over white, or why there are none; it raises nothing.

    The first frame of an animation, turned as EXIF says. An embedded profile is converted from
    where it can be read. `max_seconds` is not looked at here: see `decoder_process`.
    """
    limits = limits or Limits()
    if not data:
        return Refusal("empty", "the file has no bytes")
    if len(data) > limits.max_megabytes * 1e6:
        return file_too_large(len(data), limits)
    kind = format_of(data)
    if kind is None:
        return Refusal("undecodable", "it does not begin as any format of pictures does")
    if kind not in FORMATS:
        return Refusal("unsupported", f"{kind} is not among {', '.join(FORMATS)}")
    try:
        with _pillow_limits(), Image.open(BytesIO(data), formats=[kind]) as image:
            width, height = image.size
            if width * height > limits.max_megapixels * 1e6:
                return Refusal(
                    "too_large",
                    f"{width} x {height} pixels are more than {limits.max_megapixels:g} megapixels",
                )
            return _pixels(image, framing)
    except _UnsupportedPixels as error:
        return Refusal("unsupported", str(error))
    except MemoryError:
        return Refusal("too_large", "decoding it takes more memory than there is")
    except Exception as error:  # what a damaged file makes a decoder raise has no common class
        return _refusal(data, kind, error)


def file_too_large(n_bytes: int, limits: Limits) -> Refusal:
    """A file of too many bytes."""
    return Refusal("too_large", f"{n_bytes / 1e6:.3g} MB are more than {limits.max_megabytes:g} MB")


def format_of(data: bytes) -> str | None:
    """The format that a file's first bytes name; None where they name none that is known."""
    for offset, signature, name in _SIGNATURES:
        if data.startswith(signature, offset):
            return name
    if b"<svg" in data[:_SVG_WITHIN].lower():
        return "SVG"
    return None


class _UnsupportedPixels(Exception):
    """A file whose pixels have no colours that can be known."""


@contextmanager
def _pillow_limits() -> Iterator[None]:
    """Without Pillow's own limit and its warnings: the limit of ours is looked at first, and
    damaged metadata are warned of by the hundred."""
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _pixels(image: Image.Image, framing: Framing) -> np.ndarray:
    """Pixels (S, S, 3) of an opened file: made small first, so that all else is cheap."""
    width, height = image.size
    if framing.shorter_side is None:
        whole, part = (framing.size, framing.size), (float(width), float(height))
    else:
        scale = framing.shorter_side / min(width, height)
        whole = (round(width * scale), round(height * scale))
        part = (framing.size / scale, framing.size / scale)
    # A JPEG is decoded at half, a quarter or an eighth where that is still twice what is needed.
    image.draft(None, (2 * whole[0], 2 * whole[1]))
    image.load()
    turn = _turn(image)
    profile = image.info.get("icc_profile")
    shrunk = image.width / width, image.height / height
    margins = (width - part[0]) / 2 * shrunk[0], (height - part[1]) / 2 * shrunk[1]
    small = _plain(image).resize(
        (framing.size, framing.size),
        _FILTERS[framing.resampling],
        box=(
            max(0.0, margins[0]),
            max(0.0, margins[1]),
            min(image.width, image.width - margins[0]),
            min(image.height, image.height - margins[1]),
        ),
        reducing_gap=3.0,
    )
    if turn is not None:
        small = small.transpose(turn)
    return np.asarray(_to_srgb(_over_white(small), profile))


def _turn(image: Image.Image) -> Image.Transpose | None:
    """How to turn a loaded picture; TIFF's are turned by then, and no longer say so."""
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged metadata turn nothing
        return None


def _plain(image: Image.Image) -> Image.Image:
    """The picture in a mode in which neighbours can be averaged, before it is made smaller."""
    if image.mode.startswith("I;16"):
        # 65535 / 257 = 255
        return Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype("u1"))
    if image.mode in ("I", "F"):
        raise _UnsupportedPixels("32 bits a channel: which value is white is not known")
    if "transparency" in image.info or image.mode in ("PA", "La", "RGBa"):
        return image.convert("RGBA")
    if image.mode == "1":
        return image.convert("L")
    if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK"):
        return image
    return image.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode not in ("LA", "RGBA"):
        return image
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")


def _to_srgb(image: Image.Image, profile: Any) -> Image.Image:
    """As its profile says, where it has one that can be read and is not sRGB already."""
    if isinstance(profile, bytes) and 128 < len(profile) <= _MAX_PROFILE and not _is_srgb(profile):
        try:
            converted = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                outputMode="RGB",
            )
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            pass  # one that is damaged, or of another kind of picture
    return image.convert("RGB")


def _is_srgb(profile: bytes) -> bool:
    """Whether a profile calls itself sRGB, as most do: nothing is converted then."""
    return b"sRGB" in profile or "sRGB".encode("utf-16-be") in profile


def _refusal(data: bytes, kind: str, error: Exception) -> Refusal:
    if _ends_early(data, kind) or "truncated" in str(error).lower():
        return Refusal("truncated", f"the {kind} file ends before its picture does")
    return Refusal("undecodable", f"the {kind} file is damaged")


def _ends_early(data: bytes, kind: str) -> bool:
    """Whether the mark of a file's end, or as many bytes as it says that it has, are missing.

    It is asked only of what could not be decoded: many whole pictures lack their mark.
    """
    match kind:
        case "JPEG":
            return b"\xff\xd9" not in data[-1024:]
        case "PNG":
            return b"IEND" not in data[-1024:]
        case "GIF":
            return b";" not in data[-16:]
        case "WEBP":
            return len(data) < 8 + int.from_bytes(data[4:8], "little")
        case "BMP":
            return len(data) < int.from_bytes(data[2:6], "little")
        case _:
            return False
