"""A folder is replaced by a finished one, or keeps what it held."""

import os

import pytest

from netwright.core import files
from netwright.core.errors import NetwrightError
from netwright.core.files import publish_folder


@pytest.fixture
def finished(tmp_path):
    scratch = tmp_path / "scratch"
    (scratch / "sub").mkdir(parents=True)
    (scratch / "a.txt").write_text("new a")
    (scratch / "sub" / "b.txt").write_text("new b")
    return scratch


def held(folder):
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def test_a_new_folder_is_made_with_everything(finished, tmp_path):
    target = tmp_path / "deep" / "out"
    publish_folder(finished, target)
    assert held(target) == {"a.txt": "new a", os.path.join("sub", "b.txt"): "new b"}
    assert [file.name for file in target.parent.iterdir()] == ["out"]
    assert held(finished) == held(target)


def test_only_the_named_files_are_put_and_others_stay(finished, tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    for name in ("a.txt", "mine.txt", "gone.txt"):
        (target / name).write_text("old")
    publish_folder(finished, target, ["a.txt"], earlier=["a.txt", "gone.txt"])
    assert held(target) == {"a.txt": "new a", "mine.txt": "old"}


@pytest.mark.parametrize("exists", [False, True])
def test_a_disk_that_is_full_leaves_what_was_there(finished, tmp_path, monkeypatch, exists):
    target = tmp_path / "out"
    if exists:
        target.mkdir()
        (target / "a.txt").write_text("old")
    copied = files.shutil.copyfile

    def full(source, place):
        if source.name == "b.txt":
            raise OSError(28, "No space left on device")
        return copied(source, place)

    monkeypatch.setattr(files.shutil, "copyfile", full)
    says = "What it held before is kept" if exists else "Nothing was there before"
    with pytest.raises(NetwrightError, match=rf"No space left on device\. {says}\."):
        publish_folder(finished, target)
    assert (held(target) if exists else target.exists()) == ({"a.txt": "old"} if exists else False)
    assert sorted(file.name for file in tmp_path.iterdir()) == (["out", "scratch"] if exists else ["scratch"])


def test_an_interruption_leaves_one_whole_result(finished, tmp_path, monkeypatch):
    target = tmp_path / "out"
    target.mkdir()
    for name in ("a.txt", "c.txt"):
        (target / name).write_text("old")
    (finished / "c.txt").write_text("new c")
    replace, interrupted = files.Path.replace, []

    def pressed(self, place):
        if not interrupted:
            interrupted.append(self)
            raise KeyboardInterrupt
        return replace(self, place)

    monkeypatch.setattr(files.Path, "replace", pressed)
    with pytest.raises(KeyboardInterrupt):
        publish_folder(finished, target)
    assert held(target) == held(finished)


@pytest.mark.parametrize("exists", [False, True])
def test_a_write_that_fails_keeps_the_file_and_leaves_nothing_beside_it(tmp_path, monkeypatch, exists):
    path = tmp_path / "a.txt"
    if exists:
        path.write_text("old")

    def full(self, content):
        self.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.Path, "write_bytes", full)
    says = "What it held before is kept" if exists else "Nothing was there before"
    with pytest.raises(NetwrightError, match=rf"No space left on device\. {says}\."):
        files.write_bytes(path, b"new")
    assert held(tmp_path) == ({"a.txt": "old"} if exists else {})
