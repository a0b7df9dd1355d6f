"""The run directory: config.json, environment.json, metrics.jsonl, model.safetensors, report.html."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from netwright.core.errors import NetwrightError
from netwright.core.files import read_json, write_json
from netwright.core.json_lines import append_line, read_lines

SCHEMA = 1


class Run:
    """One directory that holds everything about one training and what was made from it.

    Files: `config.json` (what was asked), `environment.json` (machine and versions),
    `metrics.jsonl` (one record a line), `checkpoint.safetensors` (full training state),
    `model.safetensors` (the result); later stages add `evaluations.jsonl`, `search/` and `report.html`.
    """

    def __init__(self, path: Path, config: dict[str, Any]):
        self.path = path
        self.config = config

    @classmethod
    def create(cls, path: str | Path, config: dict[str, Any]) -> Run:
        """Make the directory, or return the one that is there when its config is the same.

        Raises:
            NetwrightError: the directory holds a run with another config, or other files.
        """
        path = Path(path)
        begun = cls.begun(path)
        if begun is not None:
            begun.compare(config)
            return begun
        write_json(path / "environment.json", environment())
        write_json(path / "config.json", {"schema": SCHEMA, **config})
        return cls(path, {"schema": SCHEMA, **config})

    @classmethod
    def begun(cls, path: str | Path) -> Run | None:
        """Return the run that a directory holds already, or None where one can be made.

        Raises:
            NetwrightError: the directory holds other files, or cannot be made.
        """
        path = Path(path)
        if (path / "config.json").exists():
            return cls.open(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise NetwrightError(f"{path} exists and is not a netwright run. Choose another --out.")
        nearest = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
        if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
            reason = "no folder" if not nearest.is_dir() else "not writable"
            raise NetwrightError(f"{path} cannot be made: {nearest} is {reason}. Choose another --out.")
        return None

    def compare(self, config: dict[str, Any]) -> None:
        """Refuse a config that differs from the run's.

        Raises:
            NetwrightError: names what differs, with both values.
        """
        run, config = self, {"schema": SCHEMA, **config}
        differing = [key for key in {**config, **run.config} if run.config.get(key) != config.get(key)]
        if not differing:
            return
        leaves = [leaf for key in differing for leaf in _differences(key, run.config.get(key), config.get(key))]
        values = "; ".join(f"{name} is {_short(there)} there and {_short(now)} now" for name, there, now in leaves[:4])
        raise NetwrightError(
            f"{run.path} holds a run with other settings ({', '.join(name for name, _, _ in leaves)} differ): {values}. "
            "Choose another --out, or repeat the same settings to resume it."
        )

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open an existing run.

        Raises:
            NetwrightError: no such run, or one written under another schema version.
        """
        path = Path(path)
        if not (path / "config.json").is_file():
            raise NetwrightError(
                f"{path} is not a netwright run: it has no config.json. Make one with `netwright train`."
            )
        config = read_json(path / "config.json")
        version = config.get("schema") if isinstance(config, dict) else None
        if version is None:
            raise NetwrightError(
                f"{path} is not a netwright run: its config.json names no schema, so another program wrote it, or it was "
                "edited. Give the directory that `netwright train --out` made."
            )
        if version != SCHEMA:
            raise NetwrightError(
                f"{path} was written under schema {version}; this netwright reads schema {SCHEMA}. "
                "Use the version named in its environment.json, or train again."
            )
        return cls(path, config)

    def log(self, record: dict[str, Any]) -> None:
        """Append one record to metrics.jsonl."""
        append_line(self.path / "metrics.jsonl", record)

    def metrics(self) -> list[dict[str, Any]]:
        """Return the records of metrics.jsonl."""
        return read_lines(self.path / "metrics.jsonl")


def _differences(name: str, there: Any, now: Any) -> list[tuple[str, Any, Any]]:
    """Return (name, value there, value now) of what differs, one level into objects."""
    if not isinstance(there, dict) or not isinstance(now, dict):
        return [(name, there, now)]
    return [
        (f"{name}.{key}", there.get(key), now.get(key)) for key in {**there, **now} if there.get(key) != now.get(key)
    ]


def _short(value: Any) -> str:
    text = "missing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def environment() -> dict[str, Any]:
    """Return the machine and the versions that figures made here belong to."""
    packages = ("netwright", "torch", "torchvision", "numpy", "onnx", "onnxruntime", "timm")
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "versions": versions,
    }


def processor() -> str:
    """Return the processor's name and the instruction sets that matter for inference."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = set(fields.get("flags", "").split())
    sets = [name for name in ("avx2", "avx512f", "avx512_vnni", "amx_int8") if name in flags]
    return (
        f"{fields.get('model name', platform.machine())} ({' '.join(sets)})" if sets else fields.get("model name", "")
    )
