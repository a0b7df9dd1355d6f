"""Class folders: CLASS/image, or train/CLASS/image beside val/, validation/ or test/; in one or two trees."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from netwright.core.errors import NetwrightError
from netwright.core.progress import say
from netwright.data.files import Tree, open_tree
from netwright.data.items import Items

SUFFIXES = (
    *(
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".bmp",
        ".gif",
        ".pbm",
        ".pgm",
        ".ppm",
        ".pnm",
        ".tif",
        ".tiff",
        ".webp",
    ),
    ".avif",
)
_TRAIN = ("train", "training")
_VAL = ("val", "validation", "valid", "test", "testing")  # the first that is there is used


@dataclass(frozen=True)
class _Classes:
    """Class folders below the folder `base` of a tree: class name to the sorted image files in it; `loose`: images beside."""

    tree: Tree
    base: str
    files: dict[str, list[str]]
    loose: int


def list_folders(paths: list[Path], stack: contextlib.ExitStack) -> Items:
    """List one tree (with split folders, or to be split by seed), or two: training first, then validation.

    Raises:
        NetwrightError: a path is wrong, or its folders are not class folders with images.
    """
    trees = [open_tree(path, stack) for path in paths]
    if len(trees) == 1 and not any(map(is_image, trees[0].stamps)) and (pair := _pair_of_zips(paths[0])):
        trees = [open_tree(path, stack) for path in pair]
    parts = _split_folders(trees[0]) if len(trees) == 1 else [_class_folders(tree, "") for tree in trees]
    for part in parts:
        _check_images(part)
    if len(parts) == 2:
        _check_same(parts[0], parts[1])
    for part in parts:
        _check_classes(part)
    return _items(parts, paths)


def _items(parts: list[_Classes], paths: list[Path]) -> Items:
    classes = tuple(sorted(parts[0].files))
    entries = [
        (part.tree, name, label)
        for part in parts
        for label, class_name in enumerate(classes)
        for name in part.files[class_name]
    ]
    digest = hashlib.sha256()
    for tree, name, label in entries:
        digest.update(f"{name}\0{tree.stamps[name]}\0{label}\n".encode(errors="surrogateescape"))

    def read(position: int) -> tuple[bytes, int]:
        tree, name, label = entries[position]
        return tree.read(name), label

    return Items(
        name=paths[0].absolute().stem,
        classes=classes,
        names=[name for _, name, _ in entries],
        open=read,
        fingerprint=digest.hexdigest(),
        train_count=sum(map(len, parts[0].files.values())) if len(parts) == 2 else None,
        left_out=tuple(_left_out(parts)),
    )


def _left_out(parts: list[_Classes]) -> Iterator[str]:
    """Yield, for each tree that has files or links that are no part of the data set, how many and why."""
    for tree in {id(part.tree): part.tree for part in parts}.values():
        of_tree = [part for part in parts if part.tree is tree]
        used = {name for part in of_tree for names in part.files.values() for name in names}
        splits = _above(of_tree)
        counts: Counter[str] = Counter()
        kinds: set[str] = set()
        for name in tree.stamps.keys() - used:
            top = name[len(splits) :].partition("/") if splits is not None and name.startswith(splits) else ("", "", "")
            if _is_hidden(name):
                counts["hidden images"] += name.lower().endswith(SUFFIXES) and not _is_of_system(name)
            elif not is_image(name):
                kinds.add(PurePosixPath(name).suffix.lower() or "no ending")
                counts["files"] += 1
            elif top[1] and not any(part.base == f"{splits}{top[0]}/" for part in of_tree):
                counts[f"images in {top[0]}/, which is not one of the two parts used"] += 1
            else:
                counts["images outside class folders"] += 1
        told = [f"{count} {what}" for what, count in sorted(counts.items()) if count and what != "files"]
        if kinds:
            told.append(f"{counts['files']} files of other kinds ({_some(sorted(kinds))})")
        if tree.left_out:
            told.append(f"{len(tree.left_out)} links ({'; '.join(tree.left_out[:2])})")
        if told:
            yield f"{tree.path}: {'; '.join(told)}"


def _above(parts: list[_Classes]) -> str | None:
    """Return, as a prefix, the folder that holds the split folders of a tree, or None where it has no two."""
    if len(parts) == 1:
        return None
    above = parts[0].base.rstrip("/").rpartition("/")[0]
    return f"{above}/" if above else ""


def _pair_of_zips(path: Path) -> list[Path]:
    """Return the training and the validation archive in a directory, or nothing when there is none of them."""
    if not path.is_dir():
        return []
    archives = sorted(file for file in path.iterdir() if file.suffix.lower() == ".zip" and file.is_file())
    train = [file for file in archives if "train" in file.stem.lower()]
    val = [file for file in archives if "val" in file.stem.lower() and file not in train]
    val = val or [file for file in archives if "test" in file.stem.lower() and file not in train]
    if len(train) > 1 or len(val) > 1:
        names = ", ".join(file.name for file in train + val)
        raise NetwrightError(f"{path} holds several archives ({names}). Name two: TRAIN.zip,VAL.zip.")
    return train + val if train and val else []


def _split_folders(tree: Tree) -> list[_Classes]:
    """Return the training and validation part of a tree, or the whole of it when it has no split folders."""
    base = _unwrap(tree)
    tops = {top.lower(): top for top in _children(tree.folders, base)}
    train = next((tops[name] for name in _TRAIN if name in tops), None)
    val = next((tops[name] for name in _VAL if name in tops), None)
    if train is None or val is None:
        return [_class_folders(tree, base)]
    parts = [_class_folders(tree, f"{base}{top}/") for top in (train, val)]
    if not parts[1].files:  # such as a test set without labels
        say(f"{tree.path}: {val}/ has no class folders and is left out; {train}/ is split instead.")
        return parts[:1]
    return parts


def _unwrap(tree: Tree) -> str:
    """Return the folder, as a prefix, that holds the class or split folders: a single folder around all is stepped into."""
    base = ""
    while True:
        tops = _children(tree.folders, base)
        if len(tops) != 1 or not _children(tree.folders, f"{base}{tops[0]}/"):
            return base
        base = f"{base}{tops[0]}/"


def _class_folders(tree: Tree, base: str) -> _Classes:
    if not base:
        base = _unwrap(tree)
    files: dict[str, list[str]] = {name: [] for name in _children(tree.folders, base)}
    loose = 0
    for name in sorted(filter(is_image, tree.stamps)):
        if name.startswith(base):
            top, below, _ = name[len(base) :].partition("/")
            if below:
                files[top].append(name)
            else:
                loose += 1
    return _Classes(tree, base, files, loose)


def _children(folders: Iterable[str], base: str) -> list[str]:
    """Return the names of the folders directly below a prefix that ends with a slash; hidden ones are left out."""
    names = {folder[len(base) :].partition("/")[0] for folder in folders if folder.startswith(base)}
    return sorted(name for name in names if name and not name.startswith(".") and name != "__MACOSX")


def is_image(name: str) -> bool:
    """Say whether a path in a tree is an image by its name; what is hidden is not."""
    return not _is_hidden(name) and name.lower().endswith(SUFFIXES)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def _is_of_system(name: str) -> bool:
    """Say whether a hidden file is one that macOS puts beside every file; those are no images, whatever their name."""
    path = PurePosixPath(name)
    return path.name.startswith("._") or "__MACOSX" in path.parts


def _check_images(part: _Classes) -> None:
    path, kinds = part.tree.path, ", ".join(SUFFIXES)
    if not any(part.files.values()):
        hint = f" ({part.base or path}: {part.loose} images outside class folders)" if part.loose else ""
        raise NetwrightError(
            f"{path} has no images in class folders{hint}. Expected CLASS/IMAGE, or train/CLASS/IMAGE and "
            f"val/CLASS/IMAGE, with files ending in {kinds}; or a training and a validation .zip."
        )


def _check_classes(part: _Classes) -> None:
    path, kinds = part.tree.path, ", ".join(SUFFIXES)
    empty = [name for name, files in part.files.items() if not files]
    if empty:
        raise NetwrightError(
            f"{path}: class folder {_some(empty)} holds no images ({kinds}). Add images, or remove the folder."
        )
    if len(part.files) < 2:
        raise NetwrightError(f"{path} has one class only ({_some(part.files)}). A classifier needs at least two.")


def _check_same(train: _Classes, val: _Classes) -> None:
    for one, other, where in ((train, val, "validation"), (val, train, "training")):
        lacking = sorted(name for name, files in one.files.items() if files and not other.files.get(name))
        if lacking:
            absent = [name for name in lacking if name not in other.files]
            what = (
                f"the {where} images have no folder for class {_some(absent)}"
                if absent
                else f"the {where} class folder {_some(lacking)} holds no images"
            )
            raise NetwrightError(
                f"{other.tree.path}: {what}. Both parts need images of the same classes: add {where} images of that class, or "
                "remove it from both parts."
            )


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
