"""From image files to square RGB bytes, decoded once, by several threads."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import itertools
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.core.progress import track
from netwright.data.items import Items

RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
MEMORY_SHARE = 0.6  # of the free memory, that decoded images may take
MOST_PIXELS = 89_478_485  # a quarter gigabyte of RGB: PIL's own limit for what may be a decompression bomb
AVIF = importlib.util.find_spec("PIL.AvifImagePlugin") is not None  # since Pillow 11.3
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP", *(("AVIF",) if AVIF else ()))
SCALED_TO_16_BITS = ("PNG", "PPM")  # formats whose wide integers Pillow brings to 0 to 65535
_CHUNK = 64


@dataclass(frozen=True)
class Decoded:
    """The images that could be read: uint8 [N, 3, S, S], labels, positions in the items; and those that could not.

    `keys_N`: int64, of each image a digest of its content.
    """

    images_NCHW: Tensor
    labels_N: Tensor
    positions_N: Tensor
    skipped: tuple[str, ...]
    keys_N: Tensor


def decode_all(items: Items, size: int, *, resize: str = "bicubic", crop: float = 1.0) -> Decoded:
    """Decode every image of a source to size x size; `resize` and `crop` as of a `Preparation`.

    Raises:
        NetwrightError: too large for the memory, or more than half of the images cannot be read.
    """
    count = len(items.names)
    check_memory(count, size)
    images_NCHW = torch.empty(count, 3, size, size, dtype=torch.uint8)
    labels_N, keys_N = torch.empty(2, count, dtype=torch.int64)
    rows = images_NCHW.numpy()
    reasons: dict[int, str] = {}

    def decode(positions: range) -> Iterator[None]:
        for position in positions:
            try:
                content, label = items.open(position)
                rows[position] = square_rgb(content, size, resize=resize, crop=crop).transpose(2, 0, 1)
                labels_N[position], keys_N[position] = label, _key(content, rows[position])
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - image parsers raise anything on damaged files; the reason is kept
                reasons[position] = _reason(error)
        return itertools.repeat(None, len(positions))

    chunks = [range(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]
    pool = ThreadPoolExecutor(_cores())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on odd metadata; what cannot be read raises
            done = itertools.chain.from_iterable(pool.map(decode, chunks))
            for _ in track(done, f"Decoding {items.name}", count):
                pass
    finally:
        pool.shutdown(cancel_futures=True)
    skipped = tuple(f"{items.names[position]}: {reasons[position]}" for position in sorted(reasons))
    if 2 * len(skipped) > count:
        text = unreadable(items.name, count, skipped)
        raise NetwrightError(f"{text}. More than half are unreadable: is the source complete?")
    if reasons:
        kept_N = torch.tensor([position for position in range(count) if position not in reasons])
        images_NCHW, labels_N, keys_N = compact(images_NCHW, kept_N), labels_N[kept_N], keys_N[kept_N]
    else:
        kept_N = torch.arange(count)
    return Decoded(images_NCHW, labels_N, kept_N, skipped, keys_N)


def _key(content: bytes | Image.Image, decoded: np.ndarray) -> int:
    """Return 64 bits of a digest of a file's bytes; where there is no file, of the decoded ones."""
    told = content if isinstance(content, bytes) else decoded.tobytes()
    return int.from_bytes(hashlib.blake2b(told, digest_size=8).digest(), "little", signed=True)


def square_rgb(content: bytes | Image.Image, size: int, *, resize: str = "bicubic", crop: float = 1.0) -> np.ndarray:
    """Return the centre square of an image, scaled (antialiased) to uint8 [size, size, 3].

    That is: the short side becomes `size`, and what the long side has beyond it is cut off at both ends; of both sides
    only the middle remains where `crop` is a fraction below 1.
    Upright as the EXIF orientation says; transparent parts on white; 16-bit grey by its upper 8 bits; 32-bit integers
    likewise, or as they are where none is above 255.
    """
    image = _upright(content, size)
    if image.size != (size, size) or crop != 1:
        short = min(image.size) * crop
        left, top = (image.width - short) / 2, (image.height - short) / 2
        image = image.resize((size, size), RESAMPLING[resize], box=(left, top, left + short, top + short))
    return np.asarray(image)


def upright_rgb(content: bytes | Image.Image) -> np.ndarray:
    """Return all pixels of an image, uint8 [H, W, 3]: `square_rgb` before it is resized."""
    return np.asarray(_upright(content))


def _upright(content: bytes | Image.Image, size: int | None = None) -> Image.Image:
    """Return an image as RGB; with `size`, possibly smaller than it is stored, but at least twice that."""
    image = content if isinstance(content, Image.Image) else Image.open(io.BytesIO(content), formats=FORMATS)
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels are too many for one image")
    if size is not None:
        image.draft(None, (2 * size, 2 * size))  # a large JPEG is decoded at a half, quarter or eighth: much faster
    if (
        image.format != "JPEG" or "exif" in image.info or "xmp" in image.info
    ):  # looking for it takes a fifth of the time
        ImageOps.exif_transpose(image, in_place=True)
    return _to_rgb(image)


def compact(images_NCHW: Tensor, keep_N: Tensor) -> Tensor:
    """Return the rows at ascending positions, moved to the front of the same memory."""
    for start in range(0, len(keep_N), 1024):
        rows = keep_N[start : start + 1024]
        images_NCHW[start : start + len(rows)] = images_NCHW[rows]
    return images_NCHW[: len(keep_N)]


def check_memory(count: int, size: int) -> None:
    """Refuse, before anything is decoded, what would not fit.

    Raises:
        NetwrightError: the decoded images would take more than 60 % of the free memory.
    """
    needed, free = count * 3 * size * size, free_memory()
    if free is None or needed <= MEMORY_SHARE * free:
        return
    fitting = int((MEMORY_SHARE * free / (3 * count)) ** 0.5)
    raise NetwrightError(
        f"{count} images of {size} x {size} need {needed / 1e9:.2f} GB; {free / 1e9:.2f} GB of memory are free and "
        f"{MEMORY_SHARE:.0%} of that may be used. Use images of at most {fitting} pixels a side, or "
        f"{int(MEMORY_SHARE * free / (3 * size * size))} images."
    )


def free_memory() -> int | None:
    """Return the bytes that this process could still take, or None where the system does not say."""
    bounds = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        bounds += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except OSError:
        if "SC_AVPHYS_PAGES" in os.sysconf_names:
            bounds.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    try:  # a container's own limit
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit != "max":
            bounds.append(max(0, int(limit) - int(Path("/sys/fs/cgroup/memory.current").read_text())))
    except OSError:
        pass  # no container
    return min(bounds, default=None)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):
        return Image.fromarray(_bytes_of_integers(image)).convert("RGB")
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _bytes_of_integers(image: Image.Image) -> np.ndarray:
    """Return the upper 8 of 16 bits; of 32 bits, which no file says the range of, those of the range that is used.

    Raises:
        ValueError: 32-bit integers outside 0 to 65535.
    """
    grey = np.asarray(image)
    if image.mode != "I" or image.format in SCALED_TO_16_BITS:
        return (grey.astype(np.int64) >> 8).astype(np.uint8)
    if grey.min() < 0 or grey.max() > 65535:
        raise ValueError("32-bit integers outside 0 to 65535 have no known range")
    return (grey if grey.max() <= 255 else grey >> 8).astype(np.uint8)


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):  # its own text names an address in memory
        return "not an image file, or damaged"
    return str(error).partition("\n")[0] or type(error).__name__


def unreadable(name: str, count: int, skipped: tuple[str, ...]) -> str:
    """Say how many of the images of a source cannot be read, with examples."""
    return f"{name}: {len(skipped)} of {count} images cannot be read, such as {'; '.join(skipped[:3])}"


def _cores() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 16)
