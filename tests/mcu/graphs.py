"""Small quantized graphs with random weights, as TensorFlow Lite would hold them."""

from __future__ import annotations

import numpy as np

from netwright.graph.integers.builder import GraphBuilder, quantization
from netwright.graph.integers.quantized import QuantizedGraph


class Net:
    """Builds a network layer by layer; `last` is what the next layer reads."""

    def __init__(self, height: int = 16, width: int = 16, channels: int = 3, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.graph = GraphBuilder()
        self.last = self.graph.input("image", (1, height, width, channels), quantization(0.05, 3))

    def conv(self, channels: int, kernel: int = 1, stride: int = 1, activation: str = "RELU6") -> int:
        """A convolution with SAME padding."""
        _, height, width, inside = self.graph.shape(self.last)
        weights = self.rng.integers(-127, 128, (channels, kernel, kernel, inside), dtype=np.int8)
        shape = (1, -(-height // stride), -(-width // stride), channels)
        return self._product("CONV_2D", weights, 0, kernel * kernel * inside, shape, stride, activation)

    def depthwise(self, kernel: int = 3, stride: int = 1, activation: str = "RELU6") -> int:
        """A depthwise convolution with SAME padding."""
        _, height, width, channels = self.graph.shape(self.last)
        weights = self.rng.integers(-127, 128, (1, kernel, kernel, channels), dtype=np.int8)
        shape = (1, -(-height // stride), -(-width // stride), channels)
        return self._product(
            "DEPTHWISE_CONV_2D", weights, 3, kernel * kernel, shape, stride, activation, depth_multiplier=1
        )

    def add(self, other: int) -> int:
        """The sum of the last value and another."""
        self.last = self.graph.op(
            "ADD", [self.last, other], self.graph.shape(self.last), quantization(0.07, -6), name=self._name("add")
        )
        return self.last

    def bottleneck(self, channels: int, kernel: int = 3, stride: int = 1, expansion: int = 3) -> int:
        """An inverted bottleneck, with its residual where the shapes allow."""
        before, inside = self.last, self.graph.shape(self.last)[3]
        self.conv(inside * expansion)
        self.depthwise(kernel, stride)
        self.conv(channels, activation="NONE")
        return self.add(before) if stride == 1 and channels == inside else self.last

    def head(self, classes: int) -> QuantizedGraph:
        """Global average pooling and a dense layer end the network."""
        _, height, width, channels = self.graph.shape(self.last)
        pooled = self.graph.op(
            "AVERAGE_POOL_2D",
            [self.last],
            (1, 1, 1, channels),
            self.graph.quantization(self.last),
            name=self._name("pool"),
            padding="VALID",
            stride_w=width,
            stride_h=height,
            filter_width=width,
            filter_height=height,
        )
        shape = self.graph.constant("shape", np.array([1, channels], np.int32))
        flat = self.graph.op("RESHAPE", [pooled, shape], (1, channels), self.graph.quantization(self.last), name="flat")
        weights = self.graph.constant(
            "dense.weights", self.rng.integers(-127, 128, (classes, channels), dtype=np.int8), quantization(0.01)
        )
        bias = self.graph.constant(
            "dense.bias", self.rng.integers(-500, 500, classes, dtype=np.int32), quantization(5e-4)
        )
        logits = self.graph.op(
            "FULLY_CONNECTED", [flat, weights, bias], (1, classes), quantization(0.1, 2), name="dense"
        )
        return self.graph.build([logits])

    def _product(
        self,
        operator: str,
        values: np.ndarray,
        axis: int,
        taps: int,
        shape: tuple[int, ...],
        stride: int,
        activation: str,
        **options: int,
    ) -> int:
        name, outputs = self._name(operator.lower()), values.shape[axis]
        given = self.graph.quantization(self.last)
        assert given is not None
        scales = self.rng.uniform(0.5, 2.0, outputs).astype(np.float32) / np.float32(90 * np.sqrt(taps))
        weights = self.graph.constant(f"{name}.weights", values, quantization(scales, axis=axis))
        bias = self.graph.constant(
            f"{name}.bias",
            self.rng.integers(-1000, 1000, outputs, dtype=np.int32),
            quantization(scales * given.scale[0], axis=0),
        )
        made = quantization(6 / 255, -128) if activation == "RELU6" else quantization(0.06, 4)
        self.last = self.graph.op(
            operator,
            [self.last, weights, bias],
            shape,
            made,
            name=name,
            padding="SAME",
            stride_w=stride,
            stride_h=stride,
            fused_activation_function=activation,
            **options,
        )
        return self.last

    def _name(self, what: str) -> str:
        self.count = getattr(self, "count", 0) + 1
        return f"{what}{self.count}"


def mobile(seed: int = 0, side: int = 17) -> QuantizedGraph:
    """A small MobileNetV2: odd sizes, both strides, residuals."""
    net = Net(side, side, 3, seed)
    net.conv(8, 3, 2)
    net.depthwise()
    net.conv(4, activation="NONE")
    net.bottleneck(4, 3, 1)
    net.bottleneck(6, 5, 2)
    net.bottleneck(6, 7, 1, expansion=4)
    return net.head(3)
