"""Reading exported programs: the operations of the module itself, and nothing in the file is executed."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.graph.capture.trace import capture
from netwright.graph.files.pt2 import read_program
from netwright.graph.files.read import read_graph
from tests.graph.tflite_files import small_network


class Net(nn.Module):
    """In-place operations, a part without gradients, lists of tensors, constants, sizes that are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.head = nn.Linear(8, 5)
        self.register_buffer("scale", torch.ones(5), persistent=False)
        self.shift = torch.ones(1)

    def forward(self, x: Tensor, flip: bool = False) -> dict[str, Any]:
        y = self.stem(x)
        with torch.no_grad():
            z = y.mean((2, 3))
        left, _ = torch.split(y, 4, 1)
        pooled, _ = nn.functional.max_pool2d(y, 2, return_indices=True)
        out = self.head(z.view(x.shape[0], -1)) * self.scale + self.shift
        return {"out": out, "rest": [left, pooled.reshape(x.shape[0] * 4, -1), x.new_full((2,), float("inf"))]}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("programs") / "net.pt2"
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(Net().eval(), (torch.zeros(2, 3, 16, 16), False), dynamic_shapes=(batch, None))
    torch.export.save(program, path)
    return path


def test_the_operations_are_those_of_the_module(saved: Path) -> None:
    graph, expected = read_graph(saved), capture(Net(), torch.zeros(2, 3, 16, 16))
    assert [(op.kind, op.path, op.layer) for op in graph.ops] == [(op.kind, op.path, op.layer) for op in expected.ops]
    for mine, theirs in zip(graph.ops, expected.ops, strict=True):
        shapes = [graph.tensors[index].shape for index in (*mine.inputs, *mine.outputs)]
        assert shapes == [expected.tensors[index].shape for index in (*theirs.inputs, *theirs.outputs)]
        assert (mine.view, len(mine.writes)) == (theirs.view, len(theirs.writes))
    assert graph.params == expected.params
    assert [graph.tensors[index].shape for index in graph.outputs] == [
        expected.tensors[index].shape for index in expected.outputs
    ]
    assert graph.notes == ("input 'x' is taken as 2x3x16x16, as it was exported; its dimensions 0 are free",)


def changed(saved: Path, target: Path, change: Callable[[Any], Any], extra: dict[str, bytes] | None = None) -> Path:
    """Write the archive again with a changed program and other entries replaced."""
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.namelist():
            content = old.read(entry)
            if entry.endswith("models/model.json"):
                program = json.loads(content)
                content = json.dumps(change(program) or program).encode()
            for ending, other in (extra or {}).items():
                content = other if entry.endswith(ending) else content
            new.writestr(entry, content)
    return target


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (Path("exploded"), ""))


def test_pickles_are_not_opened(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    buffer = io.BytesIO()
    torch.save(_Bomb(), buffer)
    config = {
        "config": {"head.weight": {"path_name": "weight_0", "is_param": True, "use_pickle": True, "tensor_meta": None}}
    }
    extra = {
        "sample_inputs/model.pt": buffer.getvalue(),
        "weights/weight_0": pickle.dumps(_Bomb()),
        "constants/tensor_0": pickle.dumps(_Bomb()),
        "model_weights_config.json": json.dumps(config).encode(),
    }
    path = changed(saved, tmp_path / "bomb.pt2", lambda program: None, extra)
    assert read_program(path).ops
    assert not Path("exploded").exists()


def nodes(program: Any) -> list[Any]:
    return program["graph_module"]["graph"]["nodes"]


@pytest.mark.parametrize(
    "target",
    [
        *("builtins.eval", "os.system", "torch.ops.aten.from_file.default", "torch.ops.aten.__class__.default"),
        *("torch.ops.profiler._record_function_enter.default", "torch.ops.nothing.at_all.default", "torch.load"),
        "torch.ops.higher_order.cond",
    ],
)
def test_only_operations_of_torch_are_called(saved: Path, tmp_path: Path, target: str) -> None:
    path = changed(saved, tmp_path / "m.pt2", lambda program: nodes(program)[1].update(target=target))
    with pytest.raises(NetwrightError, match=r"The program (calls|runs)"):
        read_program(path)


def test_symbolic_sizes_are_not_evaluated(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def change(program: Any) -> Any:
        text = json.dumps(program)
        return json.loads(text.replace("Symbol('", "__import__('pathlib').Path('exploded').touch() or Symbol('"))

    assert read_program(changed(saved, tmp_path / "m.pt2", change)).ops
    assert not Path("exploded").exists()


def _sizes(program: Any, name: str, sides: list[int]) -> None:
    program["graph_module"]["graph"]["tensor_values"][name]["sizes"] = [{"as_int": side} for side in sides]


@pytest.mark.parametrize(
    "change",
    [
        lambda program: program.pop("graph_module"),
        lambda program: [1],
        lambda program: program["graph_module"]["graph"].update(nodes=[]),
        lambda program: program["graph_module"]["graph"].update(inputs=None, tensor_values={}),
        lambda program: program["graph_module"]["signature"].update(input_specs=[{"custom_obj": {}}]),
        lambda program: _sizes(program, "x", [2**62, 2**62, 2, 2]),
        lambda program: _sizes(program, "x", [-1, 3, 16, 16]),
        lambda program: nodes(program)[1]["inputs"].clear(),
        lambda program: nodes(program)[2]["inputs"][0].update(arg={"as_tensor": {"name": "lost"}}),
        lambda program: nodes(program)[2]["inputs"][0].update(arg={"as_something": 1}),
        lambda program: nodes(program)[1].update(outputs=[]),
    ],
)
def test_what_cannot_be_is_refused(saved: Path, tmp_path: Path, change: Callable[[Any], Any]) -> None:
    with pytest.raises(NetwrightError):
        read_program(changed(saved, tmp_path / "m.pt2", change))


def test_numbers_that_grow_without_end_are_refused(saved: Path, tmp_path: Path) -> None:
    def change(program: Any) -> None:
        first = nodes(program)[0]
        name = first["outputs"][0]["as_sym_int"]["as_name"]
        for step in range(1, 80):
            both = [{"name": "", "arg": {"as_sym_int": {"as_name": name}}, "kind": 1}] * 2
            name = f"grown_{step}"
            nodes(program).insert(
                step,
                {
                    "target": "_operator.mul",
                    "inputs": both,
                    "outputs": [{"as_sym_int": {"as_name": name}}],
                    "metadata": {},
                },
            )

    with pytest.raises(NetwrightError, match="computes a size of"):
        read_program(changed(saved, tmp_path / "m.pt2", change))


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pt2").write_bytes(b"no archive")
    with zipfile.ZipFile(tmp_path / "b.pt2", "w") as archive:
        archive.writestr("other.txt", "")
    with zipfile.ZipFile(tmp_path / "c.pt2", "w") as archive:
        archive.writestr("c/models/model.json", "[" * 100_000)
    for name in ("a.pt2", "b.pt2", "c.pt2", "none.pt2"):
        with pytest.raises(NetwrightError):
            read_program(tmp_path / name)


def test_the_suffix_chooses_the_reader(tmp_path: Path) -> None:
    (tmp_path / "m.TFLITE").write_bytes(small_network())
    assert read_graph(tmp_path / "m.TFLITE").source == "tflite"
    with pytest.raises(NetwrightError, match=r"none of the files that can be read: \.tflite, \.onnx, \.pt2"):
        read_graph(tmp_path / "m.pth")


@settings(max_examples=150)
@given(data=st.data())
def test_damaged_files_raise_nothing_else(saved: Path, data: st.DataObject) -> None:
    content = bytearray(saved.read_bytes())
    with zipfile.ZipFile(saved) as archive:
        entry = next(entry for entry in archive.infolist() if entry.filename.endswith("model.json"))
        start, end = entry.header_offset, entry.header_offset + entry.compress_size
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.one_of(st.integers(0, len(content) - 1), st.integers(start, end)))
        content[place] = data.draw(st.integers(0, 255))
    path = saved.with_name("damaged.pt2")
    path.write_bytes(bytes(content[: data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))]))
    with contextlib.suppress(NetwrightError):
        read_program(path)


@settings(max_examples=150)
@given(data=st.data())
def test_programs_with_other_values_raise_nothing_else(saved: Path, data: st.DataObject) -> None:
    """Any value in the program's JSON replaced by another: what a damaged byte cannot do, since archives have checksums."""

    def change(program: Any) -> None:
        here = program["graph_module"]
        while True:
            key = data.draw(st.sampled_from(sorted(here) if isinstance(here, dict) else range(len(here))))
            if not (isinstance(here[key], (dict, list)) and here[key]) or data.draw(st.integers(0, 9)) == 0:
                here[key] = data.draw(
                    st.sampled_from([None, -1, 0, 7, 2**70, "x", "", [], {}, 1.5, True, [None], {"as_int": 3}])
                )
                return
            here = here[key]

    path = changed(saved, saved.with_name("changed.pt2"), change)
    with contextlib.suppress(NetwrightError):
        read_program(path)
