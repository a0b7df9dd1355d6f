"""Decoded images on disk: KEY.npy holds the bytes (memory-mapped), KEY.json what belongs to them and a checksum."""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch

from netwright.core.errors import NetwrightError
from netwright.core.files import atomic_path, read_json, write_json
from netwright.core.progress import say
from netwright.data.decode import Decoded, decode_all
from netwright.data.items import Items

_VERSION = 2  # of how images are decoded: raised when the same file would give other bytes
_CHUNK = 1 << 24


def decode_cached(items: Items, size: int, folder: Path) -> Decoded:
    """Return the decoded images from the cache; decode and store them when it has none, or damaged ones."""
    key = hashlib.sha256(json.dumps([_VERSION, PIL.__version__, items.fingerprint, size]).encode()).hexdigest()[:32]
    stored = folder / f"{key}.json"
    if stored.exists():
        try:
            return _load(stored, len(items.names), size)
        except (NetwrightError, OSError, EOFError, ValueError, KeyError, TypeError) as error:
            say(f"The cached images {stored.with_suffix('.npy')} are damaged ({error}); decoding again.")
    decoded = decode_all(items, size)
    try:
        _store(stored, decoded)
    except NetwrightError as error:
        say(f"{error} The decoded images are used without a cache.")
    return decoded


def _store(stored: Path, decoded: Decoded) -> None:
    images = decoded.images_NCHW.numpy()
    with atomic_path(stored.with_suffix(".npy")) as temporary, temporary.open("wb") as file:
        np.save(file, images, allow_pickle=False)
    values = {
        "shape": list(images.shape),
        "crc32": _crc32(images, decoded.labels_N.numpy(), decoded.positions_N.numpy(), decoded.keys_N.numpy()),
        "labels": decoded.labels_N.tolist(),
        "positions": decoded.positions_N.tolist(),
        "keys": decoded.keys_N.tolist(),
        "skipped": list(decoded.skipped),
    }
    write_json(stored, values)


def _load(stored: Path, count: int, size: int) -> Decoded:
    values: dict[str, Any] = read_json(stored)
    # Copy-on-write: the file never changes, whatever happens to the tensor.
    images = np.load(stored.with_suffix(".npy"), mmap_mode="c", allow_pickle=False)
    labels, positions, keys = (np.asarray(values[name], dtype=np.int64) for name in ("labels", "positions", "keys"))
    if list(images.shape) != values["shape"] or images.shape[1:] != (3, size, size) or images.dtype != np.uint8:
        raise ValueError(f"unexpected shape {images.shape}")
    if not labels.shape == positions.shape == keys.shape == images.shape[:1] or positions.max(initial=0) >= count:
        raise ValueError("labels and images differ in number")
    if _crc32(images, labels, positions, keys) != values["crc32"]:
        raise ValueError("the checksum differs")
    tensors = map(torch.from_numpy, (images, labels, positions))
    return Decoded(*tensors, skipped=tuple(values["skipped"]), keys_N=torch.from_numpy(keys))


def _crc32(*arrays: np.ndarray) -> int:
    crc = 0
    for array in arrays:
        flat = array.reshape(-1)
        for start in range(0, len(flat), _CHUNK):
            crc = zlib.crc32(flat[start : start + _CHUNK].data, crc)
    return crc
