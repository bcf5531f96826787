"""Whatever comes in becomes pixels of a fixed size, or a status with a reason."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageCms

from contracts.errors import UsageError
from models.content.images.decoding import Framing, Limits, Refusal, decode
from tests.models.content.images.drawn_pictures import (
    BLUE,
    GREEN,
    QUARTERS,
    RED,
    WHITE,
    corners,
    is_near,
    png_header,
    quarters,
    saved,
)

FRAMING = Framing(16)


def decoded(data: bytes, framing: Framing = FRAMING) -> list[tuple[int, ...]]:
    pixels = decode(data, framing)
    assert isinstance(pixels, np.ndarray), pixels
    assert pixels.shape == (framing.size, framing.size, 3)
    assert pixels.dtype == np.uint8
    return corners(pixels)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF"])
def test_formats_without_loss_come_out_as_they_were_drawn(kind: str) -> None:
    assert decoded(saved(quarters(), kind)) == list(QUARTERS)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_formats_with_loss_come_out_nearly_as_they_were_drawn(kind: str) -> None:
    assert is_near(decoded(saved(quarters(), kind, quality=95)), list(QUARTERS))


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [RED, GREEN, BLUE, WHITE]),
        (2, [GREEN, RED, WHITE, BLUE]),
        (3, [WHITE, BLUE, GREEN, RED]),
        (4, [BLUE, WHITE, RED, GREEN]),
        (5, [RED, BLUE, GREEN, WHITE]),
        (6, [BLUE, RED, WHITE, GREEN]),
        (7, [WHITE, GREEN, BLUE, RED]),
        (8, [GREEN, WHITE, RED, BLUE]),
        (9, [RED, GREEN, BLUE, WHITE]),  # there is no such orientation
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_a_picture_is_turned_as_its_exif_says(
    kind: str, orientation: int, expected: list[tuple[int, ...]]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert is_near(decoded(saved(quarters(48, 32), kind, exif=exif)), expected)


def test_exif_that_is_damaged_turns_nothing() -> None:
    data = saved(quarters(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff", quality=95)
    assert is_near(decoded(data), list(QUARTERS))


def test_a_cmyk_jpeg_has_the_colours_that_were_drawn() -> None:
    data = saved(quarters().convert("CMYK"), "JPEG", quality=95)
    assert is_near(decoded(data), list(QUARTERS))


def test_transparent_pixels_of_a_palette_are_white() -> None:
    image = quarters().quantize(4)
    red = image.getpixel((0, 0))
    assert decoded(saved(image, "PNG", transparency=red)) == [WHITE, GREEN, BLUE, WHITE]


def test_half_transparent_pixels_are_halfway_to_white() -> None:
    image = quarters()
    image.putalpha(Image.new("L", image.size, 51))  # a fifth
    fifth = [tuple(round(255 - (255 - c) / 5) for c in colour) for colour in QUARTERS]
    for kind in ("PNG", "TIFF"):
        assert is_near(decoded(saved(image, kind)), fifth, by=1)


def test_the_colour_beneath_transparent_pixels_does_not_bleed_into_their_neighbours() -> None:
    image = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 31, 64))
    pixels = decode(saved(image, "PNG"), FRAMING)
    assert isinstance(pixels, np.ndarray)
    assert (pixels[:, :, 0] == pixels[:, :, 1]).all()  # shades of grey, no red


def test_grey_pictures_have_three_equal_channels() -> None:
    for mode in ("L", "LA", "1"):
        colours = decoded(saved(quarters().convert("L").convert(mode), "PNG"))
        assert all(len(set(colour)) == 1 for colour in colours)
    assert decoded(saved(Image.new("L", (8, 8), 77), "PNG")) == [(77, 77, 77)] * 4


def test_sixteen_bits_become_eight() -> None:
    values = np.full((8, 8), 77 * 257, dtype=np.uint16)
    for kind in ("PNG", "TIFF"):
        assert decoded(saved(Image.fromarray(values), kind)) == [(77, 77, 77)] * 4


def test_pixels_whose_white_is_not_known_are_not_guessed() -> None:
    data = saved(Image.fromarray(np.ones((8, 8), dtype=np.float32)), "TIFF")
    assert decode(data, FRAMING) == Refusal(
        "unsupported", "32 bits a channel: which value is white is not known"
    )


def test_an_animation_is_its_first_frame() -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in (GREEN, RED, BLUE)]
    for kind, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})):
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert decoded(data) == [GREEN] * 4


def test_an_embedded_profile_is_converted_from() -> None:
    """One that calls red what sRGB calls blue."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))
    for name, other in ((b"rXYZ", b"xXYZ"), (b"bXYZ", b"rXYZ"), (b"xXYZ", b"bXYZ")):
        swapped = swapped.replace(name, other)
    of_red = decoded(saved(Image.new("RGB", (32, 32), (255, 0, 0)), "PNG", icc_profile=swapped))
    assert is_near(of_red, [(0, 0, 255)] * 4)
    same = decoded(saved(quarters(), "PNG", icc_profile=srgb))
    assert same == list(QUARTERS)


def test_a_damaged_profile_is_left_aside() -> None:
    data = saved(quarters(), "PNG", icc_profile=bytes(range(256)) * 4)
    assert decoded(data) == list(QUARTERS)


def test_cutting_the_middle_out_keeps_proportions() -> None:
    image = Image.new("RGB", (64, 16), RED)
    image.paste(GREEN, (24, 0, 40, 16))
    assert decoded(saved(image, "PNG"), Framing(16, shorter_side=16)) == [GREEN] * 4
    assert decoded(saved(image, "PNG"), Framing(16)) == [RED] * 4


def test_a_large_jpeg_cut_in_the_middle_is_the_same_picture_as_a_small_one() -> None:
    framing = Framing(16, shorter_side=20, resampling="bicubic")
    large = decode(saved(quarters(1203, 802), "JPEG", quality=95), framing)
    small = decode(saved(quarters(60, 40), "PNG"), framing)
    assert isinstance(large, np.ndarray)
    assert isinstance(small, np.ndarray)
    assert np.abs(large.astype(int) - small).mean() < 4


def test_a_picture_of_one_pixel_and_one_that_is_a_line_come_out_whole() -> None:
    for size in ((1, 1), (1, 500), (500, 1)):
        for framing in (FRAMING, Framing(16, shorter_side=20)):
            assert decoded(saved(Image.new("RGB", size, BLUE), "PNG"), framing) == [BLUE] * 4


def test_no_bytes_are_empty() -> None:
    assert decode(b"", FRAMING) == Refusal("empty", "the file has no bytes")


@pytest.mark.parametrize("data", [b"a note, not a picture", b"\0" * 100, b"\xff", b"RIFF"])
def test_what_is_no_picture_is_undecodable(data: bytes) -> None:
    assert decode(data, FRAMING) == Refusal(
        "undecodable", "it does not begin as any format of pictures does"
    )


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b'<?xml version="1.0"?>\n<SVG xmlns="http://www.w3.org/2000/svg"/>'.lower(), "SVG"),
        (b"%PDF-1.7", "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "PostScript"),
        (b"8BPS\0\1", "Photoshop"),
        (b"\0\0\0\x1cftypheic", "HEIC"),
        (b"\0\0\0\x1cftypavif", "AVIF"),
        (b"\0\0\0\x1cftypmp42", "video"),
    ],
)
def test_formats_that_are_not_decoded_are_named(data: bytes, kind: str) -> None:
    assert decode(data, FRAMING) == Refusal(
        "unsupported", f"{kind} is not among JPEG, PNG, GIF, WEBP, BMP, TIFF"
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.9])
def test_a_file_that_ends_early_is_truncated(kind: str, part: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), kind)
    assert decode(data[: max(16, int(len(data) * part))], FRAMING) == Refusal(
        "truncated", f"the {kind} file ends before its picture does"
    )


def test_damage_within_a_whole_file_is_undecodable() -> None:
    data = bytearray(saved(quarters(), "PNG"))
    data[50:60] = b"\xff" * 10
    assert decode(bytes(data), FRAMING) == Refusal("undecodable", "the PNG file is damaged")


def test_a_header_of_too_many_pixels_is_refused_before_anything_is_decoded() -> None:
    assert decode(png_header(7072, 7071), FRAMING) == Refusal(
        "too_large", "7072 x 7071 pixels are more than 50 megapixels"
    )
    assert decode(png_header(2**31 - 1, 2**31 - 1), FRAMING) == Refusal(
        "too_large", "2147483647 x 2147483647 pixels are more than 50 megapixels"
    )
    # 49.99 megapixels, of which nearly all are missing
    assert decode(png_header(7072, 7069), FRAMING).status == "truncated"  # type: ignore[union-attr]


def test_a_file_of_too_many_bytes_is_refused() -> None:
    limits = Limits(max_megabytes=0.001)
    assert decode(bytes(1100), FRAMING, limits) == Refusal(
        "too_large", "0.0011 MB are more than 0.001 MB"
    )


def test_limits_and_framings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UsageError, match="^max_seconds: expected more than 0, found 0$"):
        Limits(max_seconds=0)
    with pytest.raises(UsageError, match="^size: expected at least 1 pixel, found 0$"):
        Framing(0)
    with pytest.raises(UsageError, match=r"^shorter_side: expected at least size \(16\), found 8$"):
        Framing(16, shorter_side=8)
    with pytest.raises(
        UsageError, match="^resampling: expected one of bilinear, bicubic, found x$"
    ):
        Framing(16, resampling="x")  # type: ignore[arg-type]
