"""A machine made up for tests: its clock is a number, programs cost what a formula says, and other work disturbs it."""

import random
import types

from netwright.runtime.runtime import Runtime


class Machine:
    """`busy` is the share of moments in which everything takes 1.3 to 2.5 times as long."""

    def __init__(self, busy: float = 0.0, seed: int = 0):
        self.now_ns = 0
        self.busy = busy
        self.random = random.Random(seed)
        self.until_ns = 0
        self.slowdown = 1.0
        self.clock = types.SimpleNamespace(
            perf_counter_ns=lambda: self.now_ns,
            perf_counter=lambda: self.now_ns / 1e9,
            monotonic=lambda: self.now_ns / 1e9,
        )

    def work(self, ms: float) -> None:
        """Let the time of some work pass; the machine's mood changes every 30 ms."""
        if self.now_ns >= self.until_ns:
            self.until_ns = self.now_ns + 30_000_000
            self.slowdown = self.random.uniform(1.3, 2.5) if self.random.random() < self.busy else 1.0
        self.now_ns += int(ms * self.slowdown * 1e6)

    def runtime(self, alone_factor: float = 1.0, call_ms: float = 0.0, network_ms: float = 0.0) -> Runtime:
        """Return a runtime on this machine: a network costs `network_ms` and its parts; a part alone costs more."""

        def chain(parts, *, threads=1):
            ms = network_ms + sum(parts) if len(parts) > 1 else call_ms + alone_factor * parts[0]
            return types.SimpleNamespace(run=lambda x: self.work(ms))

        return Runtime("torch", lambda module, shape, threads=1: chain([1.0, 1.0]), self.cost, chain)

    @staticmethod
    def cost(module, shape) -> float:
        """Return the true milliseconds of a module inside a network; no linear function of what models see."""
        weights = sum(parameter.numel() for parameter in module.parameters())
        return 0.01 + 2e-6 * weights + 4e-6 * shape[0] * shape[1] * shape[2] + 3e-5 * (weights % 101)
