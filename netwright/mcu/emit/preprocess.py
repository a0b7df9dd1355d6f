"""The C that brings a photograph to the network's input: net_preprocess.h and .c, with what it was trained with as constants."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from netwright.data.preparation import Preparation
from netwright.mcu.emit.emit import GeneratedFiles
from netwright.mcu.layer import Network, NetworkValue

REDUCTION = 8  # times that a photograph's side may be that of the network's images, before a macro says otherwise
KERNEL = "nw_preprocess.h"
_WEIGHT = 1 << 15


def with_preprocessing(source: GeneratedFiles, network: Network, images: Mapping[str, Any] | None) -> GeneratedFiles:
    """Return a directory's files with those that prepare photographs, where it is known how and the input is an image.

    `images`: as of a `QuantizedGraph`.
    """
    if images is None or len(network.inputs) != 1:
        return source
    value, how = network.values[network.inputs[0]], Preparation.from_json(images["preparation"])
    if value.shape != (how.height, how.width, how.count) or value.dtype != "int8":
        return source
    kernel = (resources.files("netwright.mcu") / "kernels" / KERNEL).read_text()
    made = {
        "net_preprocess.h": header(how, images["classes"]),
        "net_preprocess.c": body(how, images["classes"], value),
        KERNEL: kernel,
        "README.md": f"{source.files['README.md']}\n{_README}",
    }
    return dataclasses.replace(source, files={**source.files, **made})


def header(how: Preparation, classes: Sequence[str]) -> str:
    """Return the text of net_preprocess.h."""
    names = f"""
#define NET_CLASSES {len(classes)}
extern const char *const net_class_names[NET_CLASSES]; /* in the order of the outputs */
"""
    return f"""/* How photographs were prepared when the network was trained, and the same for this device.
 *
 * net_preprocess takes rows of pixels from the top, without gaps, upright: the centre square is resized and quantized. It is
 * equal to the preparation in training, value for value, for the pixels that it is given (of RGB565: widened to bytes by
 * repeating the upper bits)
 * - where the image has NET_IMAGE_DECODED_SIZE pixels a side already and the network takes that size, and
 * - after resizing, {_EQUAL[how.decoded_size == how.size]}.
 * Not here: EXIF orientation, transparency (white), 16-bit channels (their upper 8 bits), and that in training JPEGs of more
 * than twice the size were decoded at a half, quarter or eighth. */
#ifndef NET_PREPROCESS_H
#define NET_PREPROCESS_H
#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

#define NET_IMAGE_HEIGHT {how.height}
#define NET_IMAGE_WIDTH {how.width}
#define NET_IMAGE_CHANNELS {how.count}
#define NET_IMAGE_ORDER "{how.channels}"
#define NET_IMAGE_SCALE {_number(how.scale)} /* input = (byte / SCALE - MEAN) / STD, then int8 by net.h */
#define NET_IMAGE_MEAN {{{", ".join(map(_number, how.mean))}}}
#define NET_IMAGE_STD {{{", ".join(map(_number, how.std))}}}
#define NET_IMAGE_RESIZE "{how.resize}" /* with antialiasing; to DECODED_SIZE, then bilinear to the input's size */
#define NET_IMAGE_BICUBIC {int(how.resize == "bicubic")}
#define NET_IMAGE_DECODED_SIZE {how.decoded_size}
#define NET_IMAGE_CROP {how.crop!r} /* of the short side */
{names if classes else ""}
/* The largest image has this many times DECODED_SIZE pixels a side; static memory for the weights grows with it. */
#ifndef NET_IMAGE_REDUCTION
#define NET_IMAGE_REDUCTION {REDUCTION}
#endif

typedef enum {{
  NET_RGB888, /* three bytes a pixel: red, green, blue */
  NET_RGB565  /* two bytes a pixel, the lower one first: red in the upper 5 bits, green, blue */
}} net_pixels;

/* Writes NET_INPUT_BYTES, such as to net_input(). Returns 0, or -1 where the image is empty or too large. Not reentrant. */
int net_preprocess(const uint8_t *pixels, net_pixels format, int32_t height, int32_t width, int8_t *input);

#ifdef __cplusplus
}}
#endif
#endif
"""


def body(how: Preparation, classes: Sequence[str], value: NetworkValue) -> str:
    """Return the text of net_preprocess.c for an input value."""
    rows = ",\n".join(f"  {{{', '.join(map(str, row))}}}" for row in byte_table(how, value).tolist())
    again, taps = _again(how)
    names = ", ".join(map(_string, classes))
    named = f"const char *const net_class_names[NET_CLASSES] = {{{names}}};\n" if classes else ""
    return f"""#include "net_preprocess.h"

/* Whether images that are tall enough are resized along their columns first, as by the Pillow of the training. */
#define NW_TALL_DOWN_FIRST {int(tall_down_first())}
#define NET_IMAGE_BGR {int(how.channels == "BGR")}
#define NW_TOP {(how.size - how.height) // 2}
#define NW_LEFT {(how.size - how.width) // 2}
#define NW_AGAIN_TAPS {taps}

/* For each channel, what a byte becomes: normalized and quantized. */
static const int8_t net_image_table[NET_IMAGE_CHANNELS][256] = {{
{rows}}};
{again}
#include "{KERNEL}"

{named}
int net_preprocess(const uint8_t *pixels, net_pixels format, int32_t height, int32_t width, int8_t *input) {{
  const int32_t further = width - NET_IMAGE_DECODED_SIZE;
  const int32_t tall = height > width && height - width > (further < 0 ? -further : further);
  const nw_photograph from = {{pixels, format == NET_RGB565, width, NW_TALL_DOWN_FIRST && tall}};
  return nw_preprocess(&from, height, input);
}}
"""


def byte_table(how: Preparation, value: NetworkValue) -> NDArray[np.int8]:
    """Return what each byte becomes in each channel, int8 [C, 256]: normalized in float32 as in training, then quantized."""
    mean_C1, std_C1 = (np.float32(how.scale) * np.array(part, np.float32)[:, None] for part in (how.mean, how.std))
    real_CV = ((np.arange(256, dtype=np.float32) - mean_C1) / std_C1).astype(np.float64)
    return np.clip(np.rint(real_CV / value.scale) + value.zero_point, -128, 127).astype(np.int8)


def tall_down_first() -> bool:
    """Return whether the Pillow installed here resizes tall images along their columns first, as newer ones do.

    They do where height - width exceeds |width - the new size|, which 600 random sizes agree with. The order shows
    because values are clipped between the two passes.
    """
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 20), dtype=np.uint8))
    kind = Image.Resampling.BICUBIC
    down = noise.resize((20, 16), kind, (0, 20, 20, 40)).resize((16, 16), kind)
    return down.tobytes() == noise.resize((16, 16), kind, (0, 20, 20, 40)).tobytes()


def _again(how: Preparation) -> tuple[str, int]:
    """Return C of the weights from the decoded size to the network's, and how many a pixel has; none where they are equal."""
    if how.decoded_size == how.size:
        return "", 0
    step = how.decoded_size / how.size
    places_S1, places_D = (np.arange(how.size)[:, None] + 0.5) * step - 0.5, np.arange(how.decoded_size)
    weights_SD = np.maximum(0, 1 - np.abs(places_D - places_S1) / max(step, 1))
    weights_SD /= weights_SD.sum(1, keepdims=True)
    first_S = (weights_SD > 0).argmax(1)
    taps = int((weights_SD > 0).sum(1).max())
    rows = []
    for first, row_D in zip(first_S, weights_SD, strict=True):
        stored = np.rint(row_D[first : first + taps] * _WEIGHT).astype(int)
        stored[stored.argmax()] += _WEIGHT - stored.sum()
        rows.append([*stored.tolist(), *[0] * (taps - len(stored))])
    text = ",\n".join(f"  {{{', '.join(map(str, row))}}}" for row in rows)
    firsts = ", ".join(map(str, first_S.tolist()))
    return (
        f"""
/* Of the network's {how.size} pixels along an axis, the first of the {how.decoded_size} that each sees, and their weights of {_WEIGHT}. */
static const int32_t net_again_first[{how.size}] = {{{firsts}}};
static const int32_t net_again_weights[{how.size}][NW_AGAIN_TAPS] = {{
{text}}};
""",
        taps,
    )


def _number(value: float) -> str:
    text = f"{value:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _string(text: str) -> str:
    """Return a C string of UTF-8: all but plain characters by their octal numbers."""
    plain = (chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in text.encode())
    return f'"{"".join(plain)}"'


_EQUAL = {
    True: "on machines whose doubles are IEEE's and not contracted; else within one step",
    False: "within half a byte and the rounding to int8, since training does not round between its two resizings",
}
_README = """## Photographs

`net_preprocess.h` says how images were prepared in training: size, mean, deviation, order of channels, resizing, names of the
classes. `net_preprocess(pixels, NET_RGB888, height, width, net_input())` does it here, with pixels of a camera or a decoder of
any height and width; compile `net_preprocess.c` too. What is equal to the training's preparation, and what cannot be, stands in the header.
"""
