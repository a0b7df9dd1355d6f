import dataclasses
import json
import math
import warnings

import pytest

from netwright.core.errors import NetwrightError
from netwright.core.run import processor
from netwright.device import store
from netwright.device.latency import LatencyModel
from netwright.nn.mbconv import MBConv
from netwright.runtime.runtimes import runtime

FIGURES = {"networks": 20, "mape": 2.5, "within_10pct": 100.0, "kendall_tau": 0.96}


@pytest.fixture
def model():
    return LatencyModel(
        device=processor(),
        runtime="onnxruntime",
        runtime_version=runtime("onnxruntime").version,
        threads=1,
        space="tiny",
        offset_ms=0.01,
        blocks_ms={f"{MBConv(8, 8, 16, 3)!r} @ 8x16x16": 0.2},
        rates_ms={"conv1.macs": 0.5},
        held_out=FIGURES,
        noise_floor=FIGURES,
        measured={"held_out_ms": [[0.1, 0.11]]},
    )


def test_what_is_saved_is_found_again_without_warnings(model):
    path = store.save_model(model)
    assert path.is_relative_to(store.home())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.find_model("this", "tiny") == model
    assert store.find_model(processor(), "tiny") == model
    assert store.find_model(str(path), "tiny") == model
    assert store.find_model("this", "tiny").block_ms(MBConv(8, 8, 16, 3), (8, 16, 16)) == 0.2


def test_where_there_is_none_the_error_names_the_command():
    with pytest.raises(NetwrightError, match="netwright device this --measure --space tiny"):
        store.find_model("this", "tiny")


def test_models_of_spaces_and_runtimes_stand_side_by_side(model):
    eager = dataclasses.replace(model, runtime="eager", runtime_version=runtime("eager").version)
    paths = {store.save_model(one) for one in (model, eager, dataclasses.replace(model, space="other"))}
    assert len(paths) == 3
    assert store.find_model("this", "tiny", "eager") == eager


def test_another_space_in_a_given_file_is_refused(model, tmp_path):
    model.save(tmp_path / "copied.json")
    with pytest.raises(NetwrightError, match="holds the model of space 'tiny'"):
        store.find_model(str(tmp_path / "copied.json"), "mobilenet-v3-small")


def test_other_versions_and_machines_warn(model):
    store.save_model(dataclasses.replace(model, runtime_version="onnxruntime 1.0"))
    with pytest.warns(UserWarning, match="measured with onnxruntime 1.0"):
        store.find_model("this", "tiny")
    dataclasses.replace(model, device="Another processor").save(store.model_path("this", "tiny", "onnxruntime"))
    with pytest.warns(UserWarning, match="measured on Another processor"):
        store.find_model("this", "tiny")


CHANGES = {
    "another kind": {"kind": "card"},
    "another schema": {"schema": 99},
    "a field is missing": {"blocks_ms": None},
    "a field too many": {"extra": 1},
    "text for a number": {"offset_ms": "0.1"},
    "not a number": {"offset_ms": math.nan},
    "truth for a number": {"threads": True},
    "a list for a table": {"blocks_ms": [1]},
    "text in a table": {"blocks_ms": {"block": "fast"}},
    "a negative time": {"rates_ms": {"conv1.macs": -1}},
    "an infinite time": {"blocks_ms": {"block": math.inf}},
    "a number for a text": {"device": 3},
    "figures are missing": {"held_out": {"networks": 3}},
    "noise figures are missing": {"noise_floor": {}},
    "measured is not a table": {"measured": 3},
    "pairs of three": {"measured": {"held_out_ms": [[1, 2, 3]]}},
    "pairs of texts": {"measured": {"held_out_ms": [["a", "b"]]}},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_edited_files_are_clear_errors(model, change):
    path = store.save_model(model)
    values = json.loads(path.read_text()) | change
    path.write_text(json.dumps({name: value for name, value in values.items() if value is not None}))
    with pytest.raises(NetwrightError, match=path.name):
        store.find_model("this", "tiny")


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b"\xff\xfe", b'{"schema": 1', b"null"])
def test_damaged_files_are_clear_errors(model, content):
    path = store.save_model(model)
    path.write_bytes(content)
    with pytest.raises(NetwrightError, match=path.name):
        store.find_model("this", "tiny")


def test_every_cut_of_a_file_is_a_clear_error(model):
    path = store.save_model(model)
    content = path.read_bytes()
    for size in range(0, len(content) - 2, 7):
        path.write_bytes(content[:size])
        with pytest.raises(NetwrightError, match=path.name):
            store.find_model("this", "tiny")
