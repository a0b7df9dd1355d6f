"""Private interfaces of torch stand in one file."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "check_private_torch.py"


def run(folder, cwd=ROOT):
    return subprocess.run([sys.executable, SCRIPT, str(folder)], cwd=cwd, capture_output=True, text=True)


def test_the_package_has_them_in_one_file():
    done = run("netwright")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "import torch._dynamo",
        "from torch._subclasses.fake_tensor import FakeTensorMode",
        "from torch.nn.modules.batchnorm import _BatchNorm",
        "from torchao.quantization._x import y",
        "torch._C._get_tracing_state()",
        "module._parameters['weight'] = x",
        "x.untyped_storage()._cdata",
        "func._schema.name",
        "node._sequence_nr()",
    ],
)
def test_others_are_named(tmp_path, line):
    (tmp_path / "a.py").write_text(f"import torch\n\n{line}\n")
    done = run(tmp_path)
    assert done.returncode == 1
    assert "a.py:3" in done.stderr and "torch_internals.py" in done.stderr


@pytest.mark.parametrize("line", ["import torch", "torch.ops.aten._softmax(x)", "self._tensors = 1", "x.__class__"])
def test_what_is_not_private_passes(tmp_path, line):
    (tmp_path / "a.py").write_text(line + "\n")
    assert run(tmp_path).returncode == 0
