"""Integer networks with random shapes and weights for tests of schedules."""

from __future__ import annotations

import numpy as np

from netwright.mcu.network import Add, Conv, Depthwise, Layer, Lookup, Network, NetworkValue, Pool, Requantize, Window


class Builder:
    """Appends layers to the last value; every number is drawn from one generator."""

    def __init__(self, shape: tuple[int, int, int], seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.values = [NetworkValue("input", shape, scale=1.0, zero_point=3)]
        self.layers: list[Layer] = []

    def network(self) -> Network:
        return Network(tuple(self.values), tuple(self.layers), (0,), (len(self.values) - 1,), 0)

    def conv(self, channels: int, kernel: int = 1, stride: int = 1, source: int = -1, dilation: int = 1) -> int:
        given = self._given(source)
        weights = self.rng.integers(-127, 128, (channels, kernel, kernel, given.shape[2])).astype(np.int8)
        window = self._window(kernel, stride, dilation)
        requantize = self._requantize(channels, kernel**2 * given.shape[2])
        return self._append(Conv, source, self._after(given, window, channels), window, weights, requantize)

    def depthwise(self, kernel: int, stride: int = 1, source: int = -1) -> int:
        given = self._given(source)
        channels = given.shape[2]
        weights = self.rng.integers(-127, 128, (kernel, kernel, channels)).astype(np.int8)
        window = self._window(kernel, stride, 1)
        requantize = self._requantize(channels, kernel**2)
        return self._append(Depthwise, source, self._after(given, window, channels), window, weights, requantize)

    def add(self, first: int, second: int) -> int:
        out = self._value(self.values[first].shape)
        zeros = (self.values[first].zero_point, self.values[second].zero_point, self.values[out].zero_point)
        factors = (1518500250, 1132462080, 1610612736)
        self.layers.append(Add((first, second), out, f"add{out}", 1, 20, zeros, factors, (0, -1, -19), -128, 127))
        return out

    def lookup(self, source: int = -1) -> int:
        given = len(self.values) - 1 if source < 0 else source
        out = self._value(self.values[given].shape)
        self.layers.append(
            Lookup((given,), out, f"lookup{out}", self.rng.permutation(256).astype(np.uint8).view(np.int8))
        )
        return out

    def pool(self, kind: str, kernel: int, stride: int) -> int:
        given = self._given(-1)
        height, width, channels = given.shape
        before = kernel // 2
        sides = [(side + before - kernel + before) // stride + 1 for side in (height, width)]
        window = Window((kernel, kernel), (stride, stride), (before, before, before, before))
        out = self._value((*sides, channels), given.zero_point)
        self.layers.append(Pool((out - 1,), out, f"pool{out}", kind, window, -128, 127))
        return out

    def bottleneck(self, channels: int, hidden: int, kernel: int, stride: int = 1) -> int:
        start = len(self.values) - 1
        self.conv(hidden)
        self.depthwise(kernel, stride)
        end = self.conv(channels)
        same = self.values[start].shape == self.values[end].shape
        return self.add(end, start) if same else end

    def _given(self, source: int) -> NetworkValue:
        return self.values[source if source >= 0 else len(self.values) - 1]

    def _append(self, kind, source, shape, window, weights, requantize) -> int:
        given = source if source >= 0 else len(self.values) - 1
        out = self._value(shape, requantize.zero_point)
        zero = self.values[given].zero_point
        self.layers.append(kind((given,), out, f"{kind.__name__.lower()}{out}", window, weights, zero, requantize))
        return out

    def _value(self, shape: tuple[int, ...], zero_point: int | None = None) -> int:
        zero = int(self.rng.integers(-20, 20)) if zero_point is None else zero_point
        self.values.append(NetworkValue(f"v{len(self.values)}", shape, scale=1.0, zero_point=zero))
        return len(self.values) - 1

    def _window(self, kernel: int, stride: int, dilation: int) -> Window:
        reach = (kernel - 1) * dilation
        before = int(self.rng.integers(0, reach + 1)) if reach else 0
        top, bottom, left, right = before, reach - before, reach // 2, reach - reach // 2
        return Window((kernel, kernel), (stride, stride), (top, bottom, left, right), (dilation, dilation))

    def _after(self, given: NetworkValue, window: Window, channels: int) -> tuple[int, int, int]:
        height, width, _ = given.shape
        return (height - 1) // window.stride[0] + 1, (width - 1) // window.stride[1] + 1, channels

    def _requantize(self, channels: int, terms: int) -> Requantize:
        bias = self.rng.integers(-(1 << 13), 1 << 13, channels).astype(np.int32)
        multiplier = self.rng.integers(1 << 30, (1 << 31) - 1, channels).astype(np.int32)
        shift = np.full(channels, -6 - int(np.log2(terms) / 2), np.int32)
        return Requantize(bias, multiplier, shift, int(self.rng.integers(-20, 20)), -128, 127)


def random_network(seed: int) -> Network:
    """Return a chain of a few blocks of every kind that streams, of small random shapes, with a branch at times."""
    rng = np.random.default_rng(seed)
    build = Builder((int(rng.integers(5, 18)), int(rng.integers(5, 18)), int(rng.integers(1, 5))), seed)
    build.conv(int(rng.integers(2, 9)), int(rng.choice([1, 3])), int(rng.choice([1, 2])))
    for _ in range(int(rng.integers(1, 4))):
        kind, last = int(rng.integers(0, 6)), len(build.values) - 1
        channels = build.values[last].shape[2]
        if kind <= 1:
            build.bottleneck(channels if kind else int(rng.integers(2, 9)), channels * 3, int(rng.choice([3, 5])), 1)
        elif kind == 2:
            build.bottleneck(int(rng.integers(2, 9)), channels * 2, int(rng.choice([3, 5, 7])), 2)
        elif kind == 3:
            build.add(build.conv(channels, 3, dilation=int(rng.choice([1, 2]))), last)
        elif kind == 4:
            build.add(build.depthwise(3), build.conv(channels, 3, source=last))
        else:
            build.lookup()
            build.depthwise(int(rng.choice([3, 5])), int(rng.choice([1, 2])))
    return build.network()
