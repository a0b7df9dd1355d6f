"""Every verb: what it writes and prints, and the message for everything a person may get wrong."""

import functools
import json
import os
import shutil

import numpy as np
import pytest

from netwright.cli.result import BEGINS_ANEW, GOES_ON, Result, verb


def result(call, *words):
    done = call(*words, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def assert_refused(done, *parts, code=1):
    assert done.code == code, done.err
    assert done.out == ""
    assert "Traceback" not in done.err
    text = " ".join(done.err.replace("│", " ").split())
    for part in parts:
        assert part in text


# --- usage and units


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--latency", "2min"], ["--latency", "'min'", "us, ms, s"]),
        (["--latency", "0ms"], ["greater than zero"]),
        (["--latency", "-3ms"], ["greater than zero"]),
        (["--latency", "2"], ["without unit"]),
        (["--latency", "fast"], ["not a number"]),
        (["--macs", "20X"], ["'X'", "K, M, G"]),
        (["--macs", "nan"], ["not a number"]),
        (["--params", "0"], ["greater than zero"]),
        (["--macs", "5M", "--strategy", "evolutoin"], ["Did you mean 'evolution'"]),
        (["--macs", "5M", "--runtime", "onnx"], ["Did you mean 'onnxruntime'"]),
        ([], ["at least one limit"]),
        (["--device", "stm32f999"], ["'stm32f999' is not known", "Did you mean 'stm32f746'", "stm32f412", "this"]),
        (["--device", "stm32f999", "--limit", "sram=64KB"], ["'stm32f999' is not known"]),
    ],
)
def test_wrong_limits(call, trained, words, parts):
    assert_refused(call("search", trained, *words), *parts)


@pytest.mark.parametrize(
    "words",
    [
        ["search"],
        ["search", "run", "--evaluations", "3"],
        ["train", "digits", "--space", "tiny"],
        ["report", "run", "--colour"],
        ["deploy", "run", "--out", "x", "--fine-tune", "-1"],
    ],
)
def test_wrong_usage_is_2(call, words):
    assert_refused(call(*words), code=2)


def test_every_verb_has_help_and_at_most_ten_options_of_its_own():
    shared = ("help", "json", "space", "task", "rules", "operators", "mean", "std", "scale", "channels")
    quantizing = ("calibration", "observer", "qat", "accept_sqnr", "layers")
    from typer.main import get_command

    from netwright.cli.main import app

    for name, command in get_command(app).commands.items():
        options = [p for p in command.params if p.param_type_name == "option" and p.name not in (*shared, *quantizing)]
        assert len(options) <= 10, name
        assert command.help, name
        assert all(p.help for p in command.params), name


# --- train


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["/nowhere", "--space", "tiny"], ["/nowhere does not exist"]),
        (["digits", "--space", "tinny"], ["Did you mean 'tiny'"]),
        (["digits", "--space", "tiny", "--recipe", "sandwitch"], ["Did you mean 'sandwich'"]),
        (["digits", "--space", "tiny", "--recipe", "fine-tuning"], ["Recipe 'fine-tuning' is not known"]),
        (["digits", "--space", "tiny", "--set", "lerning_rate=1"], ["Did you mean 'learning_rate'"]),
        (["digits", "--space", "tiny", "--set", "epochs"], ["name=value"]),
        (["digits", "--space", "tiny", "--set", "epochs=many"], ["epochs=many", "a number"]),
        (["digits", "--space", "tiny", "--set", "modle.epochs=1"], ["modle", "recipe, space"]),
        (["digits", "--space", "tiny", "--set", "space.norm=group"], ["norm", "normalization"]),
        (["digits", "--space", "tiny", "--set", "space.normalization=layer"], ["layer"]),
        (["digits", "--space", "tiny", "--set", "data.sed=1"], ["Did you mean 'seed'"]),
        (["digits", "--space", "tiny", "--set", "data.search_fraction=2"], ["search_fraction"]),
        (["digits", "--space", "tiny", "--epochs", "0"], ["epochs", "greater than 0"]),
        (["digits", "--space", "tiny", "--size", "2"], ["--size"]),
    ],
)
def test_wrong_training(call, tmp_path, words, parts):
    few = [] if "--epochs" in words else ["--epochs", "0.01"]  # should it start all the same
    assert_refused(call("train", *words, *few, "--out", tmp_path / "run"), *parts)
    assert not (tmp_path / "run").exists()


def test_training_refuses_other_peoples_folders_and_other_settings(call, trained, tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    assert_refused(call("train", "digits", "--space", "tiny", "--out", tmp_path), "not a netwright run")
    done = call("train", "digits", "--space", "tiny", "--out", trained, "--set", "epochs=3")
    assert_refused(done, "recipe", "Choose another --out")
    done = call("train", "digits", "--space", "mobilenet-v3-small", "--out", trained)
    assert_refused(done, "space", "Choose another --out")


def test_training_writes_a_run_and_repeating_it_changes_nothing(call, tmp_path):
    words = ["train", "digits", "--space", "tiny", "--recipe", "random", "--epochs", "0.1", "--out", tmp_path / "run"]
    words += ["--set", "evaluate_every=0", "--set", "calibration_images=64", "--set", "space.normalization=group"]
    told = result(call, *words)
    assert set(told["accuracy"]) == {"largest", "middle", "smallest"}
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["settings"]["normalization"] == "group"
    assert config["data"]["source"] == "digits"
    weights = (tmp_path / "run" / "model.safetensors").read_bytes()
    assert result(call, *words)["accuracy"] == told["accuracy"]
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == weights


# --- runs that are not what they should be


@pytest.mark.parametrize(
    "words", [["search", "--macs", "5M"], ["deploy", "--out", "new", "--arch", "smallest"], ["report"]]
)
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda run: (run / "config.json").write_text("{"), "not valid JSON"),
        (lambda run: (run / "config.json").write_text("[]"), "schema"),
        (lambda run: edit(run, schema=99), "schema 99"),
        (lambda run: edit(run, kind="other"), "kind 'other'"),
        (lambda run: edit(run, space="gone"), "Space 'gone'"),
        (lambda run: edit(run, settings=3), "settings"),
        (lambda run: edit(run, settings={"colour": 3}), "settings"),
        (lambda run: edit(run, data={"source": "digits"}), "data.size"),
        (lambda run: shutil.rmtree(run), "config.json"),
    ],
)
def test_damaged_runs(call, run, words, change, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    change(run)
    assert_refused(call(words[0], run, *words[1:]), says)


def edit(run, **changes):
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | changes))


def test_damaged_weights(call, run, tmp_path):
    whole = (run / "model.safetensors").read_bytes()
    (run / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    assert_refused(call("deploy", run, "--arch", "smallest", "--out", tmp_path / "new"), "damaged")
    (run / "model.safetensors").unlink()
    assert_refused(call("deploy", run, "--arch", "smallest", "--out", tmp_path / "new"), "no trained model yet")
    assert_refused(call("search", run, "--macs", "5M"), "no trained model yet")
    assert not (tmp_path / "new").exists()


# --- device


def test_an_unmeasured_device_says_how_to_measure(call, trained):
    assert_refused(call("device", "this", "--space", "tiny"), "netwright device this --measure --space tiny")
    assert_refused(call("search", trained, "--latency", "1ms"), "netwright device this --measure --space tiny")
    assert_refused(call("device", "phone", "--measure", "--space", "tiny"), "Only the machine that runs the command")
    assert_refused(call("device", "this", "--space", "tinny"), "Did you mean 'tiny'")
    assert_refused(call("device", "this", "--runtime", "onx"), "onnxruntime")


@pytest.mark.usefixtures("latency_model")
def test_a_measured_device_is_printed(call, trained):
    told = result(call, "device", "this", "--space", "tiny")
    keys = {"device", "runtime", "networks", "mape", "within_10pct", "kendall_tau", "noise_floor"}
    assert keys <= set(told)
    assert result(call, "device", "this", "--space", trained) == told
    assert "Kendall tau 0.970" in call("device", "--space", "tiny").out


# --- search


@pytest.mark.usefixtures("latency_model")
def test_infeasible_budgets_name_the_least_reachable_values(call, trained):
    done = call("search", trained, "--latency", "1us", "--macs", "1K", "--params", "1M")
    assert_refused(done, "latency", "macs", "least reachable")
    from netwright.models.families import family

    made = family("tiny")
    assert f"{made.macs(made.space.smallest()) / 1e6:.4g} M" in done.err
    assert "params" not in done.err  # it can be held
    assert not (trained / "evaluations.jsonl").exists()


def test_networks_that_measure_above_the_limit_are_left_out_and_the_search_is_repeated_below_it():
    """The prediction is 10 % low, so the first search finds nothing that fits."""
    from types import SimpleNamespace

    from netwright.cost.figures import Figure
    from netwright.models.families import family
    from netwright.searching.limits.budget import Budget
    from netwright.specialization.timed import timed_search

    tiny = family("tiny")
    archs = {2.0: tiny.space.largest(), 1.8: tiny.space.smallest()}
    asked = []

    def within(budget):
        asked.append(budget)
        return SimpleNamespace(candidates=[SimpleNamespace(arch=archs[round(budget.latency_ms, 1)])])

    measured_ms = {archs[2.0]: 2.2, archs[1.8]: 1.99}
    _, best, measured = timed_search(
        within,
        Budget(latency_ms=2.0, macs=5e6),
        lambda several: {arch: Figure(measured_ms[arch], "measured") for arch in several},
    )
    assert best == [archs[1.8]]
    assert measured[best[0]].value == 1.99
    assert asked[1].latency_ms == pytest.approx(2.0 * 2.0 / 2.2)
    assert asked[1].macs == 5e6


@pytest.mark.usefixtures("latency_model")
def test_search_result(call, run, monkeypatch):
    search_quickly(monkeypatch)
    told = result(call, "search", run, "--latency", "2ms", "--macs", "2M", "--evaluations", "20")
    assert set(told) == {"device", "budget", "candidates", "front", "warnings"}
    assert told["device"] == "this"
    assert told["budget"] == {"latency_ms": 2.0, "macs": 2e6}
    assert told["candidates"]
    for one in told["candidates"] + told["front"]:
        assert set(one) - {"chosen_by"} == {"arch", "accuracy", "latency_ms", "macs", "params"}
        assert one["macs"] <= 2e6
        assert one["accuracy"]["kind"] == "measured"
    assert all(one["latency_ms"]["kind"] == "measured" for one in told["candidates"])
    for one in told["front"]:
        assert one["latency_ms"]["kind"] == "predicted"
        assert one["latency_ms"]["value"] == pytest.approx(0.1 + one["macs"] / 1e6)
    chosen_by = [one["chosen_by"]["value"] for one in told["candidates"]]
    assert chosen_by == sorted(chosen_by, reverse=True)  # the order that the heading of the table names
    front = [(one["latency_ms"]["value"], one["accuracy"]["value"]) for one in told["front"]]
    assert front == sorted(front, reverse=True)
    assert len(set(front)) == len(front)
    file = json.loads((run / "search" / "2-ms_2-M-MACs.json").read_text())
    assert file["candidates"] == told["candidates"]
    assert {"kendall_tau", "pairs"} <= set(file["predictor"])
    before = (run / "evaluations.jsonl").read_bytes()
    again = result(call, "search", run, "--latency", "2ms", "--macs", "2M", "--evaluations", "20")
    assert again["front"] == told["front"]
    assert [one["arch"] for one in again["candidates"]] == [one["arch"] for one in told["candidates"]]
    assert (run / "evaluations.jsonl").read_bytes() == before  # nothing is evaluated twice


@pytest.mark.usefixtures("latency_model")
@pytest.mark.parametrize(
    "limits",
    [["--macs", "2M"], pytest.param(["--latency", "1ms"], marks=pytest.mark.slow), ["--latency", "0.36ms"]],
)
def test_the_count_asked_for_is_the_most_that_is_evaluated(call, run, monkeypatch, limits):
    """Also where the machine is slower than the model, so that the search is repeated."""
    from netwright.cost.figures import Figure
    from netwright.workflow import search as work

    slow = lambda made, archs, *others: {arch: Figure(1.1, "measured") for arch in archs}  # noqa: E731
    monkeypatch.setattr(work, "measured_latencies", slow)
    search_quickly(monkeypatch)
    done = call("search", run, *limits, "--evaluations", "20")
    assert done.code == 0, done.err
    lines = [len((run / f"{name}.jsonl").read_text().splitlines()) for name in ("evaluations", "validation")]
    assert sum(lines) <= 20
    assert "at most 20 evaluations: " in done.err
    (file,) = (run / "search").glob("*.json")
    spent = json.loads(file.read_text())["spent"]
    assert lines[0] <= spent["sample"] + spent["refined"] + spent["repeats"] * spent["repeated"]


@pytest.mark.usefixtures("latency_model")
def test_networks_above_their_budget_and_poor_predictors_are_marked_everywhere(call, run, monkeypatch):
    from netwright.cost.figures import Figure
    from netwright.report.report import write_report
    from netwright.workflow import search as work
    from netwright.workflow.open import open_run

    slow = lambda made, archs, *others: {arch: Figure(7.0, "measured", source="by hand") for arch in archs}  # noqa: E731
    monkeypatch.setattr(work, "measured_latencies", slow)
    search_quickly(monkeypatch)
    done = call("search", run, "--latency", "0.5ms", "--evaluations", "20")
    assert done.code == 0, done.err
    assert "7 ms measured, over 0.5 ms" in done.out
    assert "warning: all networks listed measure over 0.5 ms" in done.out
    assert "noise floor of its timings 4.0 %" in done.out
    assert "most accurate first" not in done.out and "held out for the search, by which networks are chosen" in done.out
    told = json.loads((run / "search" / "0.5-ms.json").read_text())
    assert all(one["exceeds"] == {"latency_ms": 0.5} for one in told["candidates"])
    told["predictor"] |= {"kendall_tau": -0.14, "doubt": "its tau is -0.14"}
    told["latency_model"] |= {"busy": "the machine was busy: so and so"}
    (run / "search" / "0.5-ms.json").write_text(json.dumps(told))
    opened = open_run(run)
    page = write_report(opened.run, opened.family).read_text()
    for said in ("over 0.5 ms", "by hand", "its tau is -0.14", "the machine was busy: so and so"):
        assert said in page


# --- what can be known from the arguments is checked first


def test_an_untrained_run_is_refused_before_a_device_is_asked_for(call, run):
    (run / "model.safetensors").unlink()
    assert_refused(call("search", run, "--latency", "1ms"), "no trained model yet")
    assert_refused(call("search", run, "--device", "stm32f746", "--limit", "energy=1mJ"), "no trained model yet")


def test_limits_are_read_before_the_run(call, tmp_path):
    from netwright.core.errors import NetwrightError
    from netwright.workflow.search import search

    for settings, says in (
        ({"ram": 3}, "'ram'"),
        ({"latency_ms": -1}, "greater than zero"),
        ({"device": "phone"}, "'phone'"),
    ):
        with pytest.raises(NetwrightError, match=says):
            search(tmp_path / "nowhere", **{"macs": 1e6, **settings})
    assert_refused(call("search", tmp_path / "nowhere", "--device", "stm32f412", "--limit", "sram=1MB"), "more than")


@pytest.mark.parametrize("limit", ["energy=1mJ", "sram=100KB", "instructions=5M", "latency=1ms"])
def test_a_device_that_cannot_price_a_limit_is_refused_before_anything_is_tabulated(call, trained, monkeypatch, limit):
    from netwright.searching.limits import budget

    monkeypatch.setattr(budget, "Layout", lambda made: pytest.fail("blocks were priced first"))
    done = call("search", trained, "--limit", "training_memory@bias:8=30MB", "--limit", limit)
    assert_refused(done)
    assert any(part in done.err for part in ("device this --measure", "microcontroller"))


def search_quickly(monkeypatch):
    """Let the verb search as usual, with less calibration and in this process."""
    from netwright.workflow import search as work

    monkeypatch.setattr(work, "search", functools.partial(work.search, calibration_images=32, workers=1))


# --- deploy


def test_what_to_deploy(call, searched, tmp_path):
    out = tmp_path / "new"
    assert_refused(call("deploy", searched, "--arch", "front:7", "--out", out), "front:0 to front:1")
    assert_refused(call("deploy", searched, "--arch", "front:-1", "--out", out), "front:0 to front:1")
    assert_refused(call("deploy", searched, "--arch", "bset", "--out", out), "best, front:N")
    assert_refused(call("deploy", searched, "--to", "tflite", "--out", out), "'tflite' is not known")
    foreign = tmp_path / "foreign.json"
    foreign.write_text(json.dumps({"resolution": 32, "depths": [9, 9, 9]}))
    assert_refused(call("deploy", searched, "--arch", foreign, "--out", out), "depths[0] is 9")
    (searched / "search" / "5-ms.json").write_text('{"candidates": [1]}')
    assert_refused(call("deploy", searched, "--out", out), "not a search result")
    shutil.rmtree(searched / "search")
    assert_refused(
        call("deploy", searched, "--out", out), "was not searched yet", "--latency 2ms", "--device stm32f746"
    )
    assert not out.exists()


def test_choice_of_the_network(searched):
    from netwright.models.families import family
    from netwright.workflow.archs import choose
    from netwright.workflow.open import open_run

    run, space = open_run(searched), family("tiny").space
    assert choose(run, "best")[0] == space.largest()
    arch, cost = choose(run, "front:1")
    assert arch == space.smallest()
    assert cost.score.value == 60.0
    file = searched / "arch.json"
    file.write_text(json.dumps({"arch": space.smallest().to_json()}))
    arch, cost = choose(run, str(file))
    assert arch == space.smallest()
    assert cost.latency_ms.kind == "predicted"
    assert cost.score is None


# --- how verbs end


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (ValueError("bad\nthing"), 70, "Unexpected ValueError: bad. This is a bug"),
        (OSError(28, "No space left on device", "file"), 1, "no space left while writing file"),
        (PermissionError(13, "Permission denied", "file"), 1, "Permission denied (file)"),
        (KeyboardInterrupt(), 130, "repeat the same command"),
        (BrokenPipeError(), 141, ""),
    ],
)
def test_exit_codes(error, code, says, capfd):
    def fails() -> Result:
        raise error

    import typer

    with pytest.raises(typer.Exit) as ended:
        verb(fails)()
    assert ended.value.exit_code == code
    out, err = capfd.readouterr()
    assert out == ""
    assert says in err
    assert "Traceback" not in err


def test_an_interrupt_says_whether_anything_is_kept(capfd):
    def stopped() -> Result:
        raise KeyboardInterrupt

    import typer

    for resumable, says, other in ((True, GOES_ON, BEGINS_ANEW), (False, BEGINS_ANEW, GOES_ON)):
        with pytest.raises(typer.Exit):
            verb(stopped, resumable=resumable)()
        told = capfd.readouterr().err
        assert says in told and other not in told


@pytest.mark.parametrize("name", ["compile", "emulate"])
def test_verbs_that_keep_nothing_say_so_when_interrupted(call, monkeypatch, tmp_path, name):
    def stopped(*_words):
        raise KeyboardInterrupt

    monkeypatch.setattr("netwright.mcu.compile.check_place", stopped)
    monkeypatch.setattr("netwright.mcu.run.toolchain.read_inputs", stopped)
    done = call(name, *(["x.tflite", "--out"] if name == "compile" else []), tmp_path / "net")
    assert done.code == 130 and BEGINS_ANEW in done.err


def test_debugging_shows_the_traceback(monkeypatch, capfd):
    monkeypatch.setenv("NETWRIGHT_DEBUG", "1")

    def fails() -> Result:
        raise ValueError("bad")

    import typer

    with pytest.raises(typer.Exit):
        verb(fails)()
    assert "in fails" in capfd.readouterr().err


def test_whatever_prints_while_working_stays_out_of_the_result(capfd):
    def chatty(json: bool = True) -> Result:
        print("python")
        os.write(1, b"descriptor\n")
        return Result({"value": float("nan"), "list": [np.inf]}, [])

    verb(chatty)(json=True)
    out, err = capfd.readouterr()
    assert json.loads(out) == {"value": None, "list": [None]}
    assert "python" in err
    assert "descriptor" in err
