"""A space from outside the package: a function in a file, or a Family, driven through library and command line."""

import json

import pytest

import netwright as nw
from netwright.cli.main import app
from netwright.core.tables import load_own

SPACE = """
import functools

from netwright import Family, NetwrightError, SearchSpace
from netwright.models.mobilenet import MobileConfig, Stage, mobile_blocks


def mine(*, classes=10, size=32, channels=16):
    if channels < 8:
        raise NetwrightError(f"channels is {channels}; it must be 8 or greater.")
    config = MobileConfig(
        classes=classes,
        stem_channels=8,
        stem_stride=2,
        stem_activation="relu",
        first_channels=8,
        stages=(Stage(channels, 2, "relu", blocks=2),),
        last_channels=32,
    )
    space = SearchSpace(
        "mine",
        resolutions=(size - 4, size),
        depths=((1, 2),),
        kernels=((3, 5),) * 2,
        expansions=((2, 3),) * 2,
        widths=((1.0,),),
    )
    settings = {"classes": classes, "size": size, "channels": channels}
    return Family(space, functools.partial(mobile_blocks, config), settings=settings)


def other(*, classes=10, size=32):
    return mine(classes=classes, size=size, channels=24)


def text(**settings):
    return "a text"


fixed = mine()
"""
FEW = {"batch_size": 64, "evaluate_every": 0, "subnets_per_step": 1, "calibration_images": 64}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("space") / "nets.py"
    path.write_text(SPACE)
    return path


@pytest.fixture(scope="module")
def trained(file):
    return nw.train("digits", space=f"{file}:mine", out=file.parent / "run", recipe="random", epochs=0.1, **FEW).path


def call(capfd, *words):
    with pytest.raises(SystemExit) as ended:
        app([str(word) for word in words], prog_name="netwright")
    return ended.value.code or 0, *capfd.readouterr()


def test_a_run_records_the_space_and_is_opened_with_it_again(file, trained):
    config = json.loads((trained / "config.json").read_text())
    assert (config["space"], config["own"]["space"]) == ("mine", f"{file}:mine")
    assert config["settings"] == {"classes": 10, "size": 32, "channels": 16}
    run = nw.open(trained, space=f"{file}:mine")
    assert run.family.space == load_own(f"{file}:fixed").space
    assert nw.open(trained, space=load_own(f"{file}:mine")).supernet.family.space.name == "mine"
    assert nw.open(trained, space=load_own(f"{file}:fixed")).family.settings["channels"] == 16


def test_the_file_that_a_run_names_is_not_executed(file, trained, capfd):
    """Who opens a run of someone else must not run a program by that."""
    with pytest.raises(nw.NetwrightError, match=f"--space {file}:mine"):
        nw.open(trained)
    for words in (
        ("report", trained),
        ("deploy", trained, "--out", file.parent / "no"),
        ("profile", f"{trained}:smallest"),
    ):
        code, out, err = call(capfd, *words)
        assert code == 1 and out == ""
        assert f"--space {file}:mine" in err


def test_another_space_is_refused(file, trained):
    for space in (f"{file}:other", "tiny", load_own(f"{file}:other")):
        with pytest.raises(nw.NetwrightError, match="was made with space 'mine'"):
            nw.open(trained, space=space)
    with pytest.raises(nw.NetwrightError, match="a Family"):
        nw.open(trained, space=f"{file}:text")


def test_the_whole_way_on_the_command_line(file, tmp_path, capfd):
    space, run = f"{file}:mine", tmp_path / "run"
    words = ["train", "digits", "--space", space, "--out", run, "--recipe", "random", "--epochs", "0.1"]
    words += ["--set", "space.channels=8"]
    for name, value in FEW.items():
        words += ["--set", f"{name}={value}"]
    code, _, err = call(capfd, *words, "--json")
    assert code == 0, err
    assert json.loads((run / "config.json").read_text())["settings"]["channels"] == 8
    code, out, err = call(capfd, *words, "--json")  # the same run goes on
    assert code == 0, err
    assert set(json.loads(out)["accuracy"]) == {"largest", "middle", "smallest"}
    code, out, err = call(
        capfd, "deploy", run, "--arch", "smallest", "--space", space, "--out", tmp_path / "net", "--json"
    )
    assert code == 0, err
    assert json.loads(out)["verification"]["passed"]
    with pytest.raises(nw.NetwrightError, match="space of your own"):
        nw.load_network(tmp_path / "net")
    assert len(nw.load_network(tmp_path / "net", space=space))
    code, _, err = call(capfd, "report", run, "--space", space)
    assert code == 0, err
    assert "mine" in (run / "report.html").read_text()
    code, out, err = call(capfd, "profile", f"{run}:smallest", "--space", space, "--json")
    assert code == 0, err
    code, same, err = call(capfd, "profile", "smallest", "--space", space, "--json")
    assert code == 0, err
    assert json.loads(out)["macs"] < json.loads(same)["macs"]  # 8 channels against 16
    code, _, err = call(capfd, "device", "this", "--space", space)
    assert code == 1 and "No latency model of space 'mine'" in err


def test_a_family_in_python(file, tmp_path):
    made = load_own(f"{file}:fixed")
    run = nw.train("digits", space=made, out=tmp_path / "run", recipe="random", epochs=0.1, **FEW)
    assert run.family is made
    assert run.config["own"]["space"] == "Family"
    assert nw.open(run) is run
    with pytest.raises(nw.NetwrightError, match=r"--space FILE\.py:NAME"):
        nw.open(run.path)
    again = nw.train("digits", space=made, out=tmp_path / "run", recipe="random", epochs=0.1, **FEW)
    assert again.trained
    artifact = nw.deploy(run, made.space.smallest(), out=tmp_path / "net", calibration_images=64)
    assert artifact.arch == made.space.smallest()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"space": "tinny"}, "Did you mean 'tiny'"),
        ({"space": 3}, "is a int; a Family, or a function"),
        ({"space": "FILE:mine", "space.chanels": 8}, "Did you mean 'channels'"),
        ({"space": "FILE:mine", "space.channels": 4}, "must be 8 or greater"),
        ({"space": "FILE:text"}, "a Family"),
        ({"space": "FILE:fixed", "space.channels": 8}, "takes no settings"),
        ({"space": "tiny", "recipe": "sandwhich"}, "Did you mean 'sandwich'"),
        ({"space": "tiny", "recipe": 3}, "is a int"),
        ({"space": "tiny", "recipe": "fine-tuning"}, "is not known"),
        ({"space": "tiny", "lr": 0.1}, "Did you mean 'learning_rate'"),
        ({"space": "tiny", "batch_size": "many"}, "whole number"),
        ({"space": "tiny", "batch_size": 0.5}, "batch_size"),
        ({"space": "tiny", "size": "32"}, "--size is '32'"),
        ({"space": "tiny", "task": "clasification"}, "Did you mean 'classification'"),
        ({"space": "tiny", "callback": 3}, "callback must be a function"),
        ({"space": "tiny", "data.sed": 1}, "Did you mean 'seed'"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(file, tmp_path, arguments, says):
    arguments = {
        key: value.replace("FILE", str(file)) if isinstance(value, str) else value for key, value in arguments.items()
    }
    with pytest.raises(nw.NetwrightError, match=says):
        nw.train("digits", out=tmp_path / "run", **{"epochs": 0.01, **arguments})
    assert not (tmp_path / "run").exists()


def test_a_callback_sees_each_record_and_stops_the_training(tmp_path):
    seen = []

    def callback(record):
        seen.append(record)
        return len(seen) == 2

    few = {**FEW, "log_every": 1}
    run = nw.train("digits", space="tiny", out=tmp_path / "run", recipe="random", epochs=1, callback=callback, **few)
    assert [record["kind"] for record in seen] == ["train", "train"]
    assert not run.trained
    with pytest.raises(nw.NetwrightError, match="no trained model yet"):
        _ = run.supernet
    assert nw.train("digits", space="tiny", out=tmp_path / "run", recipe="random", epochs=1, **few).trained
