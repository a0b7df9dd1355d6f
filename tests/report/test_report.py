"""The report: complete where the run is, honest where it is not, self-contained, and safe against names from outside."""

import json
import math
import random
import re
import shlex
from html.parser import HTMLParser

import pytest

from netwright.core.run import Run
from netwright.models.families import family
from netwright.report import plots
from netwright.report.drawing import Scale, describe, draw
from netwright.report.facts import Facts
from netwright.report.html import tag
from netwright.report.report import write_report
from netwright.report.sections import commands

HOSTILE = "<script>alert(1)</script>\"'&"


class Page(HTMLParser):
    """Collects tags and attributes, and checks that every element is closed."""

    VOID = {"meta", "br", "link", "img", "input", "hr"}

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.open, self.text = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, name, attributes):
        self.tags.append((name, dict(attributes)))
        if name not in self.VOID:
            self.open.append(name)

    def handle_startendtag(self, name, attributes):
        self.tags.append((name, dict(attributes)))

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        self.text.append(data)


def config(classes=("a", "b"), source="digits"):
    data = {"source": source, "size": 32, "seed": 0, "val_fraction": 0.1, "classes": list(classes)}
    data |= {"mean": [0.5] * 3, "std": [0.2] * 3}
    recipe = {"method": "progressive", "epochs": 2.5}
    return {"kind": "supernet", "space": "tiny", "settings": {"classes": len(classes)}, "data": data, "recipe": recipe}


def entry(arch, accuracy, latency, kind="predicted"):
    made = family("tiny")
    return {
        "arch": arch.to_json(),
        "accuracy": {"value": accuracy, "kind": kind},
        "latency_ms": {"value": latency, "kind": "predicted", "error": 0.04},
        "macs": made.macs(arch),
        "params": made.params(arch),
    }


def search_result(limit, seed=0):
    space = family("tiny").space
    rng = random.Random(seed)
    return {
        "schema": 1,
        "name": f"latency-{limit}ms",
        "device": "this",
        "budget": {"latency_ms": limit},
        "strategy": "evolution",
        "seed": seed,
        "candidates": [entry(space.largest(), 97.5, limit, "measured"), entry(space.smallest(), 90, limit / 2)],
        "front": [entry(space.smallest(), 90, limit / 2), entry(space.largest(), 97, limit)],
        "points": [[rng.uniform(0.1, limit), rng.randrange(10**6), rng.uniform(50, 97)] for _ in range(40)],
        "predictor": {"networks": 100, "held_out": 20, "kendall_tau": 0.8, "spearman": 0.9, "rmse": 0.5}
        | {"pairs": [[rng.uniform(50, 97), rng.uniform(50, 97)] for _ in range(20)]},
        "latency_model": {
            "device": "this",
            "runtime": "onnxruntime",
            "threads": 1,
            "noise_floor": {"networks": 30, "mape": 1.0},
        }
        | {"held_out": {"networks": 30, "mape": 3.1, "within_10pct": 99.0, "kendall_tau": 0.96}}
        | {"pairs": [[x := rng.uniform(0.1, 2), x * rng.uniform(0.95, 1.05)] for _ in range(30)]},
    }


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path / "run", config())


def fill(run):
    for step in range(60):
        run.log({"kind": "train", "epoch": step / 20, "step": step, "loss": math.exp(-step / 30), "learning_rate": 0.1})
    for epoch in (1, 2):
        for arch in ("largest", "smallest"):
            run.log({"kind": "eval", "epoch": epoch, "step": 20 * epoch, "arch": arch, "accuracy": 80.0 + epoch})
    (run.path / "model.safetensors").write_bytes(b"")
    (run.path / "search").mkdir(exist_ok=True)
    for limit in (0.5, 1, 2):
        (run.path / "search" / f"latency-{limit}ms.json").write_text(json.dumps(search_result(limit)))
    checked = {"accuracy_deployed": 97.5, "accuracy_source": 97.5, "agreement": 100, "max_abs_difference": 1e-6}
    record = {"folder": "build", "verification": checked, "predicted": {}}
    record["latency_ms"] = {"value": 1.1, "kind": "measured"}
    (run.path / "deployed.jsonl").write_text(json.dumps(record) + "\n")


def test_an_empty_run_says_what_is_missing(run):
    page = Page(write_report(run).read_text())
    notes = [t for t in page.tags if t[1].get("class") == "missing"]
    assert len(notes) >= 6
    assert "netwright search" in "".join(page.text)


def test_a_full_run_shows_everything_and_loads_nothing(run):
    fill(run)
    text = write_report(run).read_text()
    page = Page(text)
    assert not [t for t in page.tags if t[1].get("class") == "missing"]
    figures = [t for t in page.tags if t[0] == "figure"]
    assert len(figures) == 5
    drawings = [t for t in page.tags if t[1].get("class") == "drawing"]
    assert len(drawings) == 3
    assert not {name for name, _ in page.tags} & {"script", "link", "iframe", "img", "object", "embed"}
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith("#")
    assert not re.search(r"url\((?!#)", text)
    assert "@import" not in text


def test_identifiers_are_unique_and_references_resolve(run):
    fill(run)
    page = Page(write_report(run).read_text())
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    wanted = {a[n].removeprefix("#") for _, a in page.tags for n in ("href", "xlink:href") if a.get(n)}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", " ".join(str(v) for _, a in page.tags for v in a.values())))
    assert wanted <= set(ids)


def test_names_from_outside_are_shown_not_run(tmp_path):
    run = Run.create(tmp_path / "evil & <b>run", config(classes=(HOSTILE, "ok"), source=HOSTILE))
    fill(run)
    run.log({"kind": "eval", "epoch": 1, "arch": HOSTILE, "accuracy": 5.0})
    file = run.path / "search" / "latency-2ms.json"
    found = json.loads(file.read_text())
    found |= {"device": HOSTILE, "strategy": HOSTILE}
    found["candidates"][0]["accuracy"]["kind"] = HOSTILE
    found["front"][0]["accuracy"]["kind"] = HOSTILE
    found["latency_model"] |= {"device": HOSTILE, "runtime": HOSTILE, "threads": HOSTILE}
    file.write_text(json.dumps(found))
    record = json.loads((run.path / "deployed.jsonl").read_text()) | {"folder": HOSTILE}
    (run.path / "deployed.jsonl").write_text(json.dumps(record) + "\n")
    page = Page(write_report(run).read_text())
    assert not [t for t in page.tags if t[0] in ("script", "b") and t[1].get("onerror")]
    assert "script" not in {name for name, _ in page.tags}
    assert HOSTILE in "".join(page.text)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"candidates": []}', '{"candidates": 5}', '{"candidates": [3]}'])
def test_a_damaged_search_file_does_not_stop_the_report(run, content):
    fill(run)
    (run.path / "search" / "zz.json").write_text(content)
    assert "latency" in write_report(run).read_text()


def test_damaged_records_do_not_stop_the_report(run):
    fill(run)
    rng = random.Random(3)
    found = search_result(3.0)
    keys = list(found)
    for number in range(40):
        one = json.loads(json.dumps(found))
        for key in rng.sample(keys, 3):
            one[key] = rng.choice([None, 3, "x", [], {}, [None], [[1]], {"value": "x"}, math.nan])
        (run.path / "search" / f"bad{number}.json").write_text(json.dumps(one))
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write(
            '{"kind": "train", "loss": "x"}\n{"kind": "eval"}\n[]\n7\n{"kind": "train", "epoch": NaN, "loss": 1}\n{'
        )
    deployed = run.path / "deployed.jsonl"
    deployed.write_text(deployed.read_text() + '{"folder": "x", "verification": 5}\n')
    text = write_report(run).read_text()
    assert text.count("is not a search result") >= 30


def test_the_report_is_the_same_every_time(run):
    fill(run)
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first


def test_commands_repeat_the_settings(run):
    fill(run)
    lines = commands(Facts.of(run))
    assert lines[0].startswith("netwright train digits ")
    assert "--space tiny" in lines[0]
    assert "--set epochs=2.5" in lines[0]
    assert any("--latency 0.5ms" in line for line in lines)


def test_commands_name_the_run_as_it_was_given_and_survive_a_shell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = Run.create("my runs/it's one", config(source="photos of a & b.zip"))
    page = "".join(Page(write_report(run).read_text()).text)
    shown = [*commands(Facts.of(run)), *re.findall(r"netwright (?:search|deploy) .*?(?: --| trains)", page)]
    assert len(shown) > 5
    for line in shown:
        words = shlex.split(line)
        assert "my runs/it's one" in words, line
    assert shlex.split(commands(Facts.of(run))[0])[2] == "photos of a & b.zip"


def test_what_no_command_can_name_is_said(tmp_path):
    made = {**config(), "own": {"space": "mine", "called_with": {"classes": 2}}}
    first, second, *_ = commands(Facts.of(Run.create(tmp_path / "run", made)))
    assert first.startswith("#") and "'mine'" in first and second.startswith("netwright train")
    made["own"]["space"], made["task"] = "nets.py:mine", "tasks.py:MINE"
    line = commands(Facts.of(Run.create(tmp_path / "other", made)))[0]
    assert "--space nets.py:mine" in line and "--task tasks.py:MINE" in line


def test_drawing_shows_depth_kernel_expansion_and_channels():
    made = family("mobilenet-v3-small")
    small, large = made.priced_blocks(made.space.smallest()), made.priced_blocks(made.space.largest())
    scale = Scale.of([small, large])
    for blocks in (small, large):
        page = Page(draw(blocks, "title", scale).text)
        assert len([t for t in page.tags if t[0] == "rect"]) == len(blocks)
    kernels = {describe(*entry).kernel for entry in large}
    assert kernels == {0, 1, 3, 7}
    widths = [float(a["width"]) for n, a in Page(draw(large, "t", scale).text).tags if n == "rect"]
    narrow = [float(a["width"]) for n, a in Page(draw(small, "t", scale).text).tags if n == "rect"]
    assert max(narrow) < max(widths)


def test_running_mean_against_its_definition():
    values = [random.Random(1).random() for _ in range(30)]
    means = plots.running_mean(values, 7)
    for index, mean in enumerate(means):
        part = values[max(0, index - 6) : index + 1]
        assert mean == pytest.approx(math.fsum(part) / len(part))


def test_tag_escapes_children_and_attributes():
    assert tag("p", HOSTILE, title=HOSTILE).text.count("<") == 2
