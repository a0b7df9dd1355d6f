"""Every kind of image file becomes upright square RGB."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import v2

from netwright.data import decode
from netwright.data.decode import square_rgb


def stored(image: Image.Image, kind: str = "PNG", **settings: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def smooth(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 100 * np.sin(x / width * 6 + phase) * np.cos(y / height * 5) for phase in (0, 1, 2)]
    return Image.fromarray(np.stack(waves, -1).astype(np.uint8))


@pytest.mark.parametrize("shape", [(40, 40), (60, 40), (40, 61), (10, 13), (200, 100)])
@pytest.mark.parametrize("size", [1, 16, 40])
def test_short_side_scaled_and_centre_kept(shape: tuple[int, int], size: int) -> None:
    image = smooth(*shape)
    usual = v2.Compose([v2.Resize(size, v2.InterpolationMode.BICUBIC), v2.CenterCrop(size)])
    out = square_rgb(stored(image), size)
    assert out.shape == (size, size, 3)
    # Half an output pixel of shift is allowed: torchvision rounds the crop to whole pixels.
    step = 100 * 6 / size
    assert np.abs(out.astype(float) - np.asarray(usual(image))).mean() < max(2.0, step / 3)


def test_the_right_size_is_kept_bit_by_bit() -> None:
    image = smooth(24, 24)
    assert np.array_equal(square_rgb(stored(image), 24), np.asarray(image))
    assert np.array_equal(square_rgb(image, 24), np.asarray(image))


def test_a_large_jpeg_decoded_small_looks_the_same() -> None:
    image = smooth(900, 700)
    exact = square_rgb(image, 32)
    out = square_rgb(stored(image, "JPEG", quality=95), 32)
    assert np.abs(out.astype(float) - exact).max() < 6


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP"])
def test_every_format(kind: str) -> None:
    out = square_rgb(stored(Image.new("RGB", (20, 16), (200, 60, 20)), kind), 8)
    assert np.abs(out.astype(int) - (200, 60, 20)).max() <= 6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_orientation(orientation: int, kind: str) -> None:
    # Quadrants: red, green / blue, white; what the camera stored for each orientation is written out here.
    red, green, blue, white = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
    quadrants = {
        1: (red, green, blue, white),
        2: (green, red, white, blue),
        3: (white, blue, green, red),
        4: (blue, white, red, green),
        5: (red, blue, green, white),
        6: (green, white, red, blue),
        7: (white, green, blue, red),
        8: (blue, red, white, green),
    }[orientation]
    pixels = np.array(quadrants, dtype=np.uint8).reshape(2, 2, 3).repeat(16, 0).repeat(16, 1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = square_rgb(stored(Image.fromarray(pixels), kind, exif=exif), 32)
    for (y, x), colour in zip(((4, 4), (4, 27), (27, 4), (27, 27)), (red, green, blue, white), strict=True):
        assert np.abs(out[y, x].astype(int) - colour).max() < 10


def test_grey_palette_and_black_and_white() -> None:
    image = smooth(16, 16)
    for mode in ("L", "P", "1"):
        converted = image.convert(mode)
        expected = np.asarray(converted.convert("RGB"))
        assert np.array_equal(square_rgb(stored(converted), 16), expected)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_are_white(mode: str) -> None:
    image = Image.new(mode, (8, 8))  # black, fully transparent
    image.paste(Image.new(mode, (8, 4), (100, 100, 100, 255) if mode == "RGBA" else (100, 255)), (0, 0))
    out = square_rgb(stored(image), 8)
    assert (out[:4] == 100).all()
    assert (out[4:] == 255).all()


def test_a_transparent_palette_entry_is_white() -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.paste(1, (0, 0, 8, 4))
    out = square_rgb(stored(image, transparency=0), 8)
    assert (out[:4] == (200, 100, 50)).all()
    assert (out[4:] == 255).all()


def test_cmyk() -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for kind in ("JPEG", "TIFF"):
        assert np.abs(square_rgb(stored(image, kind), 16).astype(int) - (255, 0, 0)).max() < 12


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey(kind: str) -> None:
    values = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    out = square_rgb(stored(Image.fromarray(values), kind), 16)
    assert np.array_equal(out[..., 0], values >> 8)
    assert (out[..., 0] == out[..., 2]).all()


def test_the_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    out = square_rgb(stored(frames[0], "GIF", save_all=True, append_images=frames[1:]), 8)
    assert (out == (255, 0, 0)).all()


def test_floating_point_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="no known range"):
        square_rgb(stored(Image.new("F", (8, 8)), "TIFF"), 8)


def test_too_many_pixels_are_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MOST_PIXELS", 100)
    with pytest.raises(ValueError, match="11 x 10 pixels are too many"):
        square_rgb(stored(Image.new("RGB", (11, 10))), 8)


def test_a_format_outside_the_list_is_refused() -> None:
    with pytest.raises(OSError, match="cannot identify"):
        square_rgb(stored(Image.new("RGB", (8, 8)), "ICO"), 8)
