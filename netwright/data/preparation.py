"""What is done to an image file before a network sees it: stated once, by whoever knows, and carried along."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netwright.core.errors import NetwrightError, unknown

if TYPE_CHECKING:
    from torch import Tensor

LUMA = (19595, 38470, 7471)  # of 65536: ITU-R BT.601, as PIL's mode L
ALLOWED: dict[str, tuple[Any, ...]] = {
    "resize": ("bicubic", "bilinear"),
    "channels": ("RGB", "BGR", "grey"),
    "orientation": ("exif",),
    "transparency": ("white",),
    "depth": (8,),
}


@dataclass(frozen=True)
class Preparation:
    """From an image file to the input of a network, in this order.

    Attributes:
        height, width: of the network's input in pixels: the middle of a square of the longer side.
        mean, std: one a channel of the input, or one for all; a value becomes (byte / `scale` - mean) / std.
        scale: what bytes are divided by: 255 for 0 to 1, 1 for 0 to 255.
        decoded_size: side of the square that files are first brought to; 0: `size`. From it to `size` images are resampled
            bilinearly, with antialiasing, without rounding.
        resize: how files are brought to `decoded_size`, with antialiasing: bicubic or bilinear.
        crop: side of the centre square that is kept of a file, as a fraction of its short side.
        channels: their order, RGB or BGR, or grey: the luma of ITU-R BT.601.
        orientation: exif: upright, as the file says.
        transparency: white: what is behind transparent parts.
        depth: bits that are kept of deeper channels, the upper ones.
    """

    height: int
    width: int
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    scale: float = 255.0
    decoded_size: int = 0
    resize: str = "bicubic"
    crop: float = 1.0
    channels: str = "RGB"
    orientation: str = "exif"
    transparency: str = "white"
    depth: int = 8

    def __post_init__(self) -> None:
        """Refuse what cannot be done, bring numbers to one a channel, and fill in the size."""
        if self.channels not in ALLOWED["channels"]:
            raise unknown("Order of channels", self.channels, ALLOWED["channels"])
        for name, allowed in ALLOWED.items():
            if getattr(self, name) not in allowed:
                told = ", ".join(map(str, allowed))
                raise NetwrightError(f"Preparation.{name} is {getattr(self, name)!r}. Allowed: {told}.")
        for name in ("height", "width"):
            _check(name, getattr(self, name), 1, whole=True)
        _check("decoded_size", self.decoded_size, 0, whole=True)
        _check("scale", self.scale, 0, above=True)
        _check("crop", self.crop, 0, above=True)
        for name in ("mean", "std"):
            object.__setattr__(self, name, _each(name, getattr(self, name), self.count))
        for value in self.std:
            _check("std", value, 0, above=True)
        object.__setattr__(self, "decoded_size", self.decoded_size or self.size)

    @property
    def size(self) -> int:
        """The longer side of the input."""
        return max(self.height, self.width)

    @property
    def count(self) -> int:
        """How many channels the input has."""
        return 1 if self.channels == "grey" else 3

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Preparation:
        """Read what `to_json` wrote; fields that are missing have their defaults, others are passed over.

        Raises:
            NetwrightError: a value that is not allowed.
            KeyError: no height or width.
        """
        known = {field.name for field in dataclasses.fields(cls)} & values.keys()
        return cls(**{"height": values["height"], "width": values["width"], **{name: values[name] for name in known}})

    def words(self) -> str:
        """Return what is done as one sentence."""
        size, first, kept = self.size, self.decoded_size, "" if self.crop == 1 else f"{self.crop:g} of "
        again = "" if first == size else f"; resampled to {size} x {size} (bilinear, antialiased)"
        cut = "" if self.height == self.width else f"; its middle of {self.height} x {self.width}"
        order = {"RGB": "RGB", "BGR": "BGR", "grey": "the luma"}[self.channels]
        return (
            "upright as EXIF says, transparent parts on white, the upper 8 bits of deeper channels; the centre square with "
            f"{kept}the short side scaled to {first} x {first} ({self.resize}, antialiased){again}{cut}; {order}, divided by "
            f"{self.scale:g}, less `mean`, over `std`; float32, batch x {self.count} x {self.height} x {self.width}"
        )


def stated(
    mean: str | None = None, std: str | None = None, scale: float | None = None, channels: str | None = None
) -> dict[str, Any] | None:
    """Return the fields of a `Preparation` that were given, numbers as text such as "0.5" or "0.485,0.456,0.406"; or None.

    Raises:
        NetwrightError: not numbers, or not one or three.
    """
    given: dict[str, Any] = {}
    for name, text in (("mean", mean), ("std", std)):
        if text is not None:
            try:
                given[name] = tuple(float(part) for part in text.split(","))
            except ValueError:
                raise NetwrightError(
                    f"--{name} {text!r} is no number. Allowed: one, or one a channel, such as 0.485,0.456,0.406."
                ) from None
    given |= {name: value for name, value in (("scale", scale), ("channels", channels)) if value is not None}
    return given or None


def of_pretrained(config: Mapping[str, Any], height: int, width: int) -> dict[str, Any]:
    """Return the fields of a `Preparation` that a timm network's `pretrained_cfg` states."""
    given: dict[str, Any] = {name: tuple(config[name]) for name in ("mean", "std") if config.get(name) is not None}
    if config.get("interpolation") in ALLOWED["resize"]:
        given["resize"] = config["interpolation"]
    if config.get("crop_pct"):
        given["crop"] = float(config["crop_pct"])
    return {"height": height, "width": width, **given}


def prepared(images_NCHW: Tensor, preparation: Preparation) -> Tensor:
    """Return decoded images, uint8 [N, 3, S, S] with S the decoded size, as a network's input, float32 [N, C, H, W]."""
    from netwright.data.loader import normalized

    x_NCHW = in_channels(images_NCHW, preparation.channels)
    x_NCHW = normalized(x_NCHW, preparation.mean, preparation.std, preparation.size, scale=preparation.scale)
    top, left = (preparation.size - preparation.height) // 2, (preparation.size - preparation.width) // 2
    return x_NCHW[:, :, top : top + preparation.height, left : left + preparation.width]


def in_channels(images_NCHW: Tensor, channels: str) -> Tensor:
    """Return RGB images, uint8 [N, 3, H, W], in another order, or as grey, [N, 1, H, W]."""
    import torch

    if channels != "grey":
        return images_NCHW.flip(1) if channels == "BGR" else images_NCHW
    red, green, blue = images_NCHW.to(torch.int32).unbind(1)
    luma_NHW = (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue + 32768) >> 16
    return luma_NHW[:, None].to(torch.uint8)


def read_image(content: bytes, preparation: Preparation) -> Tensor:
    """Return the bytes of an image file as the input of a network, float32 [1, C, H, W].

    Raises:
        ValueError, OSError: not an image, of no known range, or too large.
    """
    import torch

    from netwright.data.decode import square_rgb

    square = square_rgb(content, preparation.decoded_size, resize=preparation.resize, crop=preparation.crop)
    return prepared(torch.from_numpy(square.copy()).permute(2, 0, 1)[None], preparation)


def _each(name: str, given: Any, count: int) -> tuple[float, ...]:
    values = tuple(given) if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
    values = values * count if len(values) == 1 else values
    if len(values) != count or not all(
        isinstance(value, int | float) and abs(value) < float("inf") for value in values
    ):
        raise NetwrightError(f"{name} is {given!r}; it must be one number, or one for each of {count} channels.")
    return tuple(map(float, values))


def _check(name: str, value: Any, least: float, *, whole: bool = False, above: bool = False) -> None:
    kind = int if whole else (int, float)
    if not isinstance(value, kind) or isinstance(value, bool) or not least <= value < float("inf"):
        raise NetwrightError(f"{name} is {value!r}; it must be a {'whole ' if whole else ''}number from {least:g} on.")
    if above and value <= least:
        raise NetwrightError(f"{name} is {value!r}; it must be above {least:g}.")
