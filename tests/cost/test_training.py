"""Training memory: against what autograd packs, what optimizers hold, and hand counts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchmarks.real_memory import autograd_saves
from netwright.core.errors import NetwrightError
from netwright.cost.memory.saved_tensors import saved_frozen_aware
from netwright.cost.memory.training import OPTIMIZERS, timeline, training_memory
from netwright.graph.capture.trace import capture
from netwright.nn.lora import with_adapters
from netwright.nn.trainable import MODES, learner, trainable_names


class Block(nn.Module):
    """An inverted bottleneck with a shortcut and squeeze-excite."""

    def __init__(self, channels: int, norm: type[nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        wide = 2 * channels
        make = (lambda n: nn.GroupNorm(2, n)) if norm is nn.GroupNorm else norm
        self.expand = nn.Sequential(nn.Conv2d(channels, wide, 1, bias=False), make(wide), nn.ReLU6(inplace=True))
        self.depthwise = nn.Sequential(nn.Conv2d(wide, wide, 3, padding=1, groups=wide), make(wide), nn.Hardswish())
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(wide, 4, 1), nn.ReLU(), nn.Conv2d(4, wide, 1))
        self.project = nn.Conv2d(wide, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(self.expand(x))
        return x + self.project(y * torch.sigmoid(self.gate(y)))


class Mixed(nn.Module):
    """Convolutions, pooling, attention over the pixels, LayerNorm and a classifier."""

    def __init__(self, norm: type[nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.LeakyReLU(0.1), nn.MaxPool2d(2))
        self.block = Block(8, norm)
        self.before = nn.LayerNorm(8)
        self.qkv = nn.Linear(8, 24)
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.block(self.stem(x)).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.before(tokens)).chunk(3, -1)
        tokens = tokens + self.drop(nn.functional.scaled_dot_product_attention(q, k, v))
        return self.head(nn.functional.gelu(tokens).mean(1))


def packed(module: nn.Module, names: tuple[str, ...], x: Tensor) -> int:
    """Run for real and count the bytes that autograd packs, parameters and buffers left out."""
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name in names)
    out, saved = autograd_saves(module, x)
    assert out.shape[0] == x.shape[0]
    return saved


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("mode", [*MODES, "block.*", "*.weight"])
def test_saved_bytes_are_what_autograd_packs(mode: str, train: bool) -> None:
    for batch, norm in ((1, nn.GroupNorm), (3, nn.BatchNorm2d)):
        module = Mixed(norm).train(train)
        names = trainable_names(module, mode)
        x = torch.randn(batch, 3, 24, 24)
        memory = training_memory(capture(module, x, trainable=names), mode=mode)
        assert memory.saved_bytes == packed(module, names, x)
        assert memory.batch == batch
        assert memory.trained_params == sum(p.numel() for n, p in module.named_parameters() if n in names)
        assert memory.saved_bytes_frozen_aware <= memory.saved_bytes


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
def test_optimizer_state_is_what_torch_holds(optimizer: str) -> None:
    module = Mixed().train()
    x = torch.randn(2, 3, 16, 16)
    names = trainable_names(module, "norm+last")
    memory = training_memory(capture(module, x, trainable=names), mode="norm+last", optimizer=optimizer)
    trained = [p for n, p in module.named_parameters() if n in names]
    for parameter in module.parameters():
        parameter.requires_grad_(any(parameter is one for one in trained))
    module(x).sum().backward()
    made = {
        "sgd": lambda: torch.optim.SGD(trained),
        "momentum": lambda: torch.optim.SGD(trained, momentum=0.9),
        "adam": lambda: torch.optim.Adam(trained),
        "adamw": lambda: torch.optim.AdamW(trained),
    }[optimizer]()
    made.step()
    held = [value for state in made.state.values() for value in state.values() if isinstance(value, Tensor)]
    assert memory.optimizer_bytes == sum(tensor.nbytes for tensor in held)
    assert memory.gradient_bytes == sum(p.grad.nbytes for p in trained if p.grad is not None)
    assert memory.weight_bytes == sum(p.nbytes for p in module.parameters())
    assert memory.buffer_bytes == sum(b.nbytes for b in module.buffers())


def test_an_8_bit_optimizer_keeps_small_tensors_whole() -> None:
    width = OPTIMIZERS["adamw8bit"]
    assert width(65536, 4) == 2 * 65536 + 2 * 65536 // 256 * 4 + 4
    assert width(4096, 4) == 2 * 4096 + 2 * 4096 // 256 * 4 + 4
    assert width(4095, 4) == OPTIMIZERS["adamw"](4095, 4)


def test_the_last_bits_of_a_mask_take_a_byte() -> None:
    module = nn.Sequential(nn.Linear(3, 5), nn.ReLU6())
    assert sum(saved_frozen_aware(capture(module, torch.empty(1, 3), trainable=["0.bias"])).values()) == 1


def test_where_the_output_is_kept_no_mask_is() -> None:
    module = nn.Sequential(nn.Linear(3, 5), nn.ReLU6(), nn.Linear(5, 2))
    joint = capture(module, torch.empty(1, 3), trainable=["0.bias", "2.weight"])
    assert sum(saved_frozen_aware(joint).values()) == 5 * 4


def test_what_must_be_saved_by_hand() -> None:
    """Convolution, BatchNorm, ReLU, convolution; 4 channels of 8x8, one image; and what each frozen set needs."""
    module = nn.Sequential(
        nn.Conv2d(4, 4, 1, bias=True), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(256, 2)
    )
    x = torch.empty(1, 4, 8, 8)
    tensor, mask, stats = 4 * 64 * 4, 4 * 64 // 8, 2 * 4 * 4

    def needed(*names: str) -> int:
        return sum(saved_frozen_aware(capture(module, x, trainable=names)).values())

    module.eval()
    assert needed("5.bias") == 0
    assert needed("5.weight") == tensor
    assert needed("3.bias") == 0
    assert needed("3.weight") == tensor
    assert needed("1.bias") == mask
    assert needed("0.bias") == mask
    assert needed("0.bias", "3.weight") == tensor  # the convolution's input tells the mask
    assert needed("0.weight") == tensor + mask
    module.train()
    assert needed("1.bias") == mask
    assert needed("0.bias") == mask + tensor + stats  # batch statistics: the gradient needs the normalized input


@pytest.mark.parametrize("train", [True, False])
def test_frozen_group_and_layer_norm_keep_their_input_where_its_gradient_is_wanted(train: bool) -> None:
    """TinyTL (Cai et al. 2020) counts nothing for a frozen normalization; only BatchNorm in eval mode is so."""
    tensor = 4 * 6 * 6 * 4

    def needed(norm: nn.Module, statistics: int, *names: str) -> None:
        module = nn.Sequential(nn.Conv2d(4, 4, 1), norm, nn.Flatten(), nn.Linear(144, 2)).train(train)
        saved = sum(saved_frozen_aware(capture(module, torch.empty(1, 4, 6, 6), trainable=names)).values())
        assert saved == statistics

    for norm, statistics in ((nn.GroupNorm(2, 4), 2 * 2 * 4), (nn.LayerNorm([4, 6, 6]), 2 * 4)):
        needed(
            norm, tensor + statistics, "0.bias"
        )  # the scale and the shift are frozen, the input is wanted all the same
        needed(norm, tensor + statistics, "1.weight")
        needed(norm, 0, "1.bias")
        needed(norm, 0, "3.bias")
    needed(nn.BatchNorm2d(4), tensor + 2 * 4 * 4 if train else 0, "0.bias")


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 4), nn.LayerNorm([4, 6, 6])], ids=["group", "layer"])
def test_the_gradient_through_a_frozen_normalization_depends_on_its_input(norm: nn.Module) -> None:
    """Why it is kept: two inputs of the same statistics and shape have different gradients for one incoming gradient."""
    for parameter in norm.parameters():
        parameter.requires_grad_(False)
    incoming = torch.randn(1, 4, 6, 6, generator=torch.Generator().manual_seed(1))
    found = []
    for flipped in (False, True):
        x = torch.randn(1, 4, 6, 6, generator=torch.Generator().manual_seed(0))
        x = (x.flip(-1) if flipped else x).requires_grad_(True)
        norm(x).backward(incoming)
        assert x.grad is not None
        found.append(x.grad.flip(-1) if flipped else x.grad)
    assert not torch.allclose(*found)


def test_a_view_of_a_large_tensor_need_not_keep_all_of_it() -> None:
    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head((x + 1)[:, 0])

    memory = training_memory(capture(First(), torch.empty(2, 10, 8), trainable=["head.weight"]))
    assert memory.saved_bytes == 2 * 10 * 8 * 4
    assert memory.saved_bytes_frozen_aware == 2 * 8 * 4


def test_total_and_peak_hang_together() -> None:
    module = Mixed().train()
    names = trainable_names(module, "full")
    graph = capture(module, torch.empty(4, 3, 32, 32), trainable=names)
    memory = training_memory(graph, mode="full", optimizer="adam")
    assert memory.peak_bytes == max(timeline(graph))
    assert timeline(graph)[-1] >= memory.gradient_bytes
    assert memory.saved_bytes < memory.peak_bytes <= memory.saved_bytes + memory.gradient_bytes + memory.workspace_bytes
    parts = (memory.weight_bytes, memory.buffer_bytes, memory.optimizer_bytes, memory.peak_bytes)
    assert memory.total_bytes == sum(parts) == memory.to_json()["total_bytes"]
    narrow = training_memory(graph, mode="full", optimizer="adam", weight_bits=16)
    assert 2 * narrow.weight_bytes == memory.weight_bytes


def test_frozen_weights_of_8_bits() -> None:
    module = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 4, bias=False))
    graph = capture(module, torch.empty(1, 10), trainable=["1.weight"])
    assert training_memory(graph, frozen_bits=8).weight_bytes == 110 + 40 * 4


def test_modes_name_parameters() -> None:
    module = Mixed()
    assert trainable_names(module, "last") == ("head.weight", "head.bias")
    assert set(trainable_names(module, "bias")) == {
        name for name, _ in module.named_parameters() if name.endswith("bias")
    } | {"head.weight"}
    assert "block.expand.1.weight" in trainable_names(module, "norm+last")
    assert "before.bias" in trainable_names(module, "norm+last")
    assert "qkv.bias" not in trainable_names(module, "norm+last")
    assert trainable_names(module, "qkv.*,before.*") == ("before.weight", "before.bias", "qkv.weight", "qkv.bias")
    with pytest.raises(NetwrightError, match=r"'norm\+lst'.*Did you mean 'norm\+last'.*full, last, bias"):
        trainable_names(module, "norm+lst")


def test_adapters_learn_and_the_rest_is_frozen() -> None:
    module = Mixed().eval()
    made, names = learner(module, "lora", rank=2)
    graph = capture(made, torch.empty(2, 3, 16, 16), trainable=names)
    assert set(graph.gradients) == set(names)
    assert {"qkv.lora_a", "qkv.lora_b", "stem.0.lora_a", "head.weight"} <= set(names)
    assert not any("depthwise" in name or name == "qkv.weight" for name in names)
    sizes = {name: parameter.numel() for name, parameter in made.named_parameters()}
    assert sizes["qkv.lora_a"] == 2 * 8 and sizes["qkv.lora_b"] == 24 * 2
    assert all(not hasattr(part, "lora_a") for part in module.modules())  # the module itself is as it was
    assert all(not parameter.is_meta for parameter in module.parameters())
    with pytest.raises(NetwrightError, match="`learner` returns both"):
        trainable_names(module, "lora")
    with pytest.raises(NetwrightError, match="rank"):
        with_adapters(module, 0)
    with pytest.raises(NetwrightError, match="no linear layer"):
        with_adapters(nn.ReLU())


def test_what_is_not_allowed_is_said() -> None:
    graph = capture(nn.Linear(3, 2), torch.empty(1, 3), trainable=["bias"])
    with pytest.raises(NetwrightError, match="Did you mean 'adamw"):
        training_memory(graph, optimizer="adamw8")
