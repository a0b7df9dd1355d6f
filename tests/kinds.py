"""Image files of many kinds, made by Pillow: orientations, modes, depths, transparency, formats."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, features

HEIGHT, WIDTH = 40, 52


def picture(height: int = HEIGHT, width: int = WIDTH) -> Image.Image:
    """Return colours that change smoothly, with edges, and are nowhere symmetric."""
    y_H1, x_1W = np.mgrid[0:height, 0:width].astype(float)
    rgb_3HW = np.stack([y_H1 / height, x_1W / width, ((x_1W // 7 + y_H1 // 5) % 2) * (0.3 + 0.7 * x_1W / width)])
    return Image.fromarray((255 * rgb_3HW).astype(np.uint8).transpose(1, 2, 0).copy())


def alpha(size: tuple[int, int]) -> Image.Image:
    """Return a transparency of all degrees."""
    return Image.linear_gradient("L").resize(size)


def stored(image: Image.Image, kind: str, **settings: Any) -> bytes:
    """Return the bytes of a file."""
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def kinds() -> dict[str, bytes]:
    """Return about forty files by name."""
    image = picture()
    grey, tall = image.convert("L"), picture(WIDTH, HEIGHT)
    with_alpha, grey_alpha = image.copy(), grey.copy()
    with_alpha.putalpha(alpha(image.size))
    grey_alpha.putalpha(alpha(image.size))
    palette = image.quantize(16)
    deep = (np.asarray(grey).astype(np.uint16) * 257) ^ 77
    wide = np.asarray(grey).astype(np.int32)
    made: dict[str, bytes] = {}
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        made[f"exif-{orientation}.jpg"] = stored(image, "JPEG", exif=exif, quality=95)
        if orientation in (3, 6):
            made[f"exif-{orientation}.png"] = stored(image, "PNG", exif=exif)
            made[f"exif-{orientation}.webp"] = stored(with_alpha, "WEBP", exif=exif, lossless=True)
    made |= {
        "rgb.png": stored(image, "PNG"),
        "rgb.bmp": stored(image, "BMP"),
        "rgb.ppm": stored(image, "PPM"),
        "rgb.tif": stored(image, "TIFF"),
        "rgb.webp": stored(image, "WEBP", lossless=True),
        "tall.png": stored(tall, "PNG"),
        "progressive.jpe": stored(tall, "JPEG", progressive=True),
        "large.jfif": stored(picture(400, 300), "JPEG", quality=95),  # decoded at a part of its size
        "exact.png": stored(picture(32, 32), "PNG"),
        "rgba.png": stored(with_alpha, "PNG"),
        "rgba.tif": stored(with_alpha, "TIFF"),
        "rgba.webp": stored(with_alpha, "WEBP", lossless=True),
        "la.png": stored(grey_alpha, "PNG"),
        "palette.png": stored(palette, "PNG"),
        "palette-transparent.png": stored(palette, "PNG", transparency=3),
        "palette-alpha.png": stored(palette, "PNG", transparency=bytes(range(0, 256, 16))),
        "palette.gif": stored(palette, "GIF"),
        "palette-transparent.gif": stored(palette, "GIF", transparency=2),
        "rgb-transparent.png": stored(image, "PNG", transparency=image.getpixel((3, 3))),
        "grey-transparent.png": stored(grey, "PNG", transparency=40),
        "animation.gif": stored(palette, "GIF", save_all=True, append_images=[tall.resize(image.size).quantize(8)]),
        "grey.png": stored(grey, "PNG"),
        "grey.jpg": stored(grey, "JPEG"),
        "grey.pgm": stored(grey, "PPM"),
        "bilevel.png": stored(grey.convert("1"), "PNG"),
        "bilevel.tif": stored(grey.convert("1"), "TIFF"),
        "bilevel.pbm": stored(grey.convert("1"), "PPM"),
        "cmyk.jpg": stored(image.convert("CMYK"), "JPEG", quality=95),
        "cmyk.tif": stored(image.convert("CMYK"), "TIFF"),
        "grey-16.png": stored(Image.fromarray(deep), "PNG"),
        "grey-16.tif": stored(Image.fromarray(deep), "TIFF"),
        "grey-16.pgm": stored(Image.fromarray(deep), "PPM"),
        "dark-16.png": stored(Image.fromarray(deep >> 8), "PNG"),
        "grey-32.tif": stored(Image.fromarray(wide), "TIFF"),
        "grey-32-of-16.tif": stored(Image.fromarray(wide * 257), "TIFF"),
    }
    if features.check("avif"):
        made["rgba.avif"] = stored(with_alpha, "AVIF")
    return made
