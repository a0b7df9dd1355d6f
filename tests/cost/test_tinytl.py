"""TinyTL's accounting: the published table, and small networks counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.cost.formulas.tinytl import tinytl_memory
from netwright.graph.capture.trace import capture
from netwright.models.proxylessnas import proxylessnas_mobile
from netwright.nn.lite_residual import LiteResidual


def test_by_hand() -> None:
    """Convolution 2 -> 4, GroupNorm, ReLU, pointwise with shortcut, classifier; 8x8 pixels, a batch of 2."""

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.GroupNorm(2, 4), nn.ReLU())
            self.body = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.GroupNorm(2, 4))
            self.head = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            x = x + self.body(x)
            return self.head(x.mean((2, 3)))

    module, x = Small(), torch.empty(2, 2, 8, 8)
    wide, image = 2 * 4 * 64 * 4, 2 * 2 * 64 * 4
    mask = wide // 32
    frozen = sum(p.numel() for p in module.parameters())

    def memory(convention: str, *names: str) -> tuple[int, int]:
        found = tinytl_memory(capture(module, x, trainable=names), convention=convention)  # type: ignore[arg-type]
        return found.parameter_bytes, found.activation_bytes

    # the depthwise convolution: its input, a quarter of its output, and the shortcut; or the first: image and output
    assert memory("tinytl", "head.weight", "head.bias") == (frozen + 3 * 15, wide + wide // 4 + wide)
    assert memory("tinytl", "stem.1.bias", "head.weight", "head.bias")[1] == mask + wide + wide // 4 + wide
    assert memory("tinytl", "body.0.weight")[1] == mask + wide + wide + wide  # at the norm behind it
    assert memory("tinytl", "stem.0.weight")[1] == image + mask + wide + wide // 4 + wide
    # norms keep their inputs: with all of them the first counts, although its input wants no gradient
    assert memory("tinytl+norms", "stem.1.bias", "head.bias")[1] == wide + mask + wide + wide // 4 + wide
    assert memory("tinytl+needed", "stem.1.bias", "head.bias")[1] == mask + wide + wide // 4 + wide
    assert memory("tinytl+needed", "stem.0.weight")[1] == image + wide + mask + wide + wide // 4 + wide
    with pytest.raises(NetwrightError, match=r"tinytl\+norms"):
        memory("tinytl+norm")


def test_the_network_is_the_published_one() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in proxylessnas_mobile().parameters()) == 4_080_512


def test_a_lite_residual_starts_as_nothing() -> None:
    torch.manual_seed(0)
    module = proxylessnas_mobile(5, normalization="group", lite_residual=True).eval()
    found = [part for part in module.modules() if isinstance(part, LiteResidual)]
    assert len(found) == 19
    assert [part.lite.get_submodule("conv").kernel_size[0] for part in found] == [5] * 15 + [3] * 4
    x = torch.randn(1, found[3].lite.get_submodule("conv").in_channels, 14, 14)
    with torch.no_grad():
        assert torch.equal(found[3](x), found[3].main(x))


@pytest.mark.parametrize(
    ("chosen", "megabytes", "with_norms"),
    [
        (lambda name: True, 390.8, None),
        (lambda name: name.endswith("bias") or "classifier" in name, 31.7, None),
        (lambda name: ".lite." in name or name.endswith("bias") or "classifier" in name, 37.1, 206.8),
    ],
)
def test_published_values(chosen, megabytes: float, with_norms: float | None) -> None:
    with torch.device("meta"):
        module = proxylessnas_mobile(102, normalization="group", lite_residual=True)
    names = [name for name, _ in module.named_parameters() if chosen(name)]
    graph = capture(module, torch.empty(8, 3, 224, 224, device="meta"), trainable=names)
    assert tinytl_memory(graph).total_bytes / 1e6 == pytest.approx(megabytes, abs=0.1)
    if with_norms:
        assert tinytl_memory(graph, convention="tinytl+norms").total_bytes / 1e6 == pytest.approx(with_norms, abs=0.1)
