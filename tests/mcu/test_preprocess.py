"""net_preprocess: photographs on a microcontroller become the input that training would have made of them."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from netwright.data.decode import upright_rgb
from netwright.data.preparation import Preparation, prepared, read_image
from netwright.mcu.emit.emit import GeneratedFiles
from netwright.mcu.emit.preprocess import with_preprocessing
from netwright.mcu.layer import Network, NetworkValue
from netwright.mcu.run.toolchain import WARNINGS, missing
from tests.kinds import kinds, picture, stored

pytestmark = pytest.mark.skipif(bool(missing("gcc")), reason="needs gcc")
MEAN, STD = (0.4, 0.5, 0.61), (0.2, 0.25, 0.3)
MOST = 1
CLASSES = ["cat", 'a "dog"\\', "ünïcode??/", ""]


class Bundle:
    """The two files of a preparation, built for this machine."""

    def __init__(self, folder: Path, how: Preparation, flags: tuple[str, ...] = ()):
        step = max((1 / how.scale - 0) / std for std in how.std)  # one byte of the steepest channel
        self.how, self.scale, self.zero = how, float(np.float32(step)), -11
        value = NetworkValue("images", (how.height, how.width, how.count), "int8", self.scale, self.zero)
        network = Network((value,), (), (0,), (0,), 0)
        images = {"preparation": how.to_json(), "classes": CLASSES}
        made = with_preprocessing(GeneratedFiles({"README.md": "# net\n"}, ()), network, images)
        made.write(folder)
        library = folder / "preprocess.so"
        command = ["gcc", *WARNINGS, "-O2", "-shared", "-fPIC", *flags, folder / "net_preprocess.c", "-o", library]
        subprocess.run(command, check=True)
        self.files, self.library = made.files, ctypes.CDLL(str(library))

    def run(self, pixels: np.ndarray, height: int, width: int, rgb565: bool = False) -> np.ndarray | None:
        out = np.full((self.how.height, self.how.width, self.how.count), 99, np.int8)
        pixels = np.ascontiguousarray(pixels)
        pointers = (array.ctypes.data_as(ctypes.c_void_p) for array in (pixels, out))
        source, target = pointers
        ended = self.library.net_preprocess(source, int(rgb565), height, width, target)
        return out if ended == 0 else None

    def quantized(self, x_CHW: torch.Tensor) -> np.ndarray:
        """Quantize what training would give to the network."""
        real = x_CHW.double().numpy().transpose(1, 2, 0)
        return np.clip(np.rint(real / self.scale) + self.zero, -128, 127).astype(np.int8)


def differ(found: np.ndarray | None, expected: np.ndarray) -> int:
    assert found is not None
    return int(np.abs(found.astype(int) - expected.astype(int)).max())


ONE_SIZE = [
    Preparation(32, 32, MEAN, STD),
    Preparation(20, 32, MEAN, STD, channels="BGR"),
    Preparation(32, 24, (0.5,), (0.25,), channels="grey", resize="bilinear"),
    Preparation(16, 16, (100.0, 110.0, 120.0), (60.0,), 1.0, crop=0.75),
]
TWO_SIZES = [
    Preparation(24, 24, MEAN, STD, decoded_size=32),
    Preparation(17, 13, (0.5,), (0.25,), decoded_size=32, channels="grey"),
    Preparation(40, 36, MEAN, STD, decoded_size=32),
    Preparation(8, 8, MEAN, STD, decoded_size=32),
]


@pytest.mark.parametrize("how", ONE_SIZE + TWO_SIZES, ids=lambda how: f"{how.height}x{how.width} {how.channels}")
def test_forty_kinds_of_file_become_what_training_makes_of_them(tmp_path: Path, how: Preparation) -> None:
    """Exactly where training resizes once, as Pillow does; else within half a byte, and the rounding to int8."""
    bundle = Bundle(tmp_path, how)
    for name, content in kinds().items():
        if name == "large.jfif":  # training decodes it at a part of its size
            continue
        rgb = upright_rgb(content)
        found = bundle.run(rgb, *rgb.shape[:2])
        expected = bundle.quantized(read_image(content, how)[0])
        assert differ(found, expected) <= (0 if how in ONE_SIZE else MOST), name


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (2, 300), (31, 33), (64, 64), (200, 256), (255, 201), (90, 40), (60, 44), (90, 20)]
)
def test_any_height_and_width(tmp_path: Path, height: int, width: int) -> None:
    bundle = Bundle(tmp_path, ONE_SIZE[0])
    noise = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    content = stored(Image.fromarray(noise), "PNG")
    assert differ(bundle.run(noise, height, width), bundle.quantized(read_image(content, bundle.how)[0])) == 0


@pytest.mark.parametrize("size", [32, 50])
def test_rgb565_is_its_widened_bytes(tmp_path: Path, size: int) -> None:
    bundle = Bundle(tmp_path, ONE_SIZE[0])
    rgb = np.asarray(picture(size, size + 3)).astype(int)
    five_six_five = rgb >> [3, 2, 3]
    packed = (five_six_five[..., 0] << 11 | five_six_five[..., 1] << 5 | five_six_five[..., 2]).astype("<u2")
    widened = (rgb & [248, 252, 248]) | (rgb >> [5, 6, 5])
    found = bundle.run(packed.view(np.uint8), size, size + 3, rgb565=True)
    expected = bundle.run(widened.astype(np.uint8), size, size + 3)
    assert expected is not None and differ(found, expected) == 0


def test_without_resizing_it_is_a_table(tmp_path: Path) -> None:
    """Every byte in every channel; nothing is resized, so nothing may differ."""
    how = Preparation(16, 16, MEAN, STD)
    bundle = Bundle(tmp_path, how)
    rgb = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    expected = bundle.quantized(prepared(torch.from_numpy(rgb.transpose(2, 0, 1).copy())[None], how)[0])
    assert differ(bundle.run(rgb, 16, 16), expected) == 0


def test_what_is_too_large_or_empty_is_refused(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, Preparation(8, 8, MEAN, STD), ("-DNET_IMAGE_REDUCTION=2",))
    pixels = np.zeros((17, 17, 3), np.uint8)
    assert bundle.run(pixels, 16, 17) is not None
    for height, width in ((17, 17), (0, 5), (-1, 5), (5, 20000)):
        assert bundle.run(pixels, height, width) is None


def test_the_header_says_it_all(tmp_path: Path) -> None:
    files = Bundle(tmp_path, Preparation(17, 13, MEAN, STD, decoded_size=32, channels="BGR")).files
    (tmp_path / "show.c").write_text(
        '#include <stdio.h>\n#include "net_preprocess.h"\nint main(void) {\n'
        "  const double mean[] = NET_IMAGE_MEAN, std[] = NET_IMAGE_STD;\n"
        "  for (int i = 0; i < NET_CLASSES; i++) puts(net_class_names[i]);\n"
        '  printf("%d %d %d %s %s %g %g %g\\n", NET_IMAGE_HEIGHT, NET_IMAGE_WIDTH, NET_IMAGE_DECODED_SIZE, NET_IMAGE_ORDER,\n'
        "         NET_IMAGE_RESIZE, (double)NET_IMAGE_SCALE, mean[2], std[2]);\n  return 0;\n}\n"
    )
    sources = [tmp_path / "show.c", tmp_path / "net_preprocess.c"]
    subprocess.run(["gcc", *WARNINGS, "-fsanitize=undefined", *sources, "-o", tmp_path / "show"], check=True)
    told = subprocess.run([tmp_path / "show"], check=True, capture_output=True).stdout.decode().split("\n")
    assert told[:4] == CLASSES
    assert told[4] == "17 13 32 BGR bicubic 255 0.61 0.3"
    assert "net_preprocess(" in files["README.md"]


def test_a_network_of_other_inputs_gets_none() -> None:
    value = NetworkValue("images", (8, 8, 3), "int8", 1.0, 0)
    files = GeneratedFiles({"README.md": ""}, ())
    network = Network((value,), (), (0,), (0,), 0)
    assert with_preprocessing(files, network, None) is files
    images = {"preparation": Preparation(9, 8).to_json(), "classes": []}
    assert with_preprocessing(files, network, images) is files
