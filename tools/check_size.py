"""Hold the size budget: small files, small functions.

    python tools/check_size.py [FOLDER ...]

Files: none over 500 lines, median at most 150. Functions: none over 80 lines, nine in ten at most 40.
The median and the nine in ten are held for the package and its tests.
Exit status 1 names every file and function that is over its limit.
"""

from __future__ import annotations

import ast
import statistics
import sys
from pathlib import Path

FILE_MOST, FILE_MEDIAN = 500, 150
FUNCTION_MOST, FUNCTION_P90 = 80, 40
FEW = ("benchmarks", "tools")  # scripts that stand alone: a median over a handful says nothing
FOLDERS = ("netwright", "tests", "benchmarks", "tools")


def function_lines(path: Path) -> list[tuple[str, int]]:
    """Return ("file:line name", lines) of every function, decorators and docstring included."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            found.append((f"{path}:{node.lineno} {node.name}", (node.end_lineno or first) - first + 1))
    return found


def check(folder: Path) -> list[str]:
    """Print the sizes of one folder and return what is over the budget."""
    files = [(str(path), len(path.read_text().splitlines())) for path in sorted(folder.rglob("*.py"))]
    files = [(name, lines) for name, lines in files if lines]
    if not files:
        return []
    functions = [found for name, _ in files for found in function_lines(Path(name))] or [("none", 0)]
    median = statistics.median(lines for _, lines in files)
    p90 = sorted(lines for _, lines in functions)[int(0.9 * (len(functions) - 1))]
    over = [f"{name}: {lines} lines, at most {FILE_MOST}" for name, lines in files if lines > FILE_MOST]
    over += [f"{name}: {lines} lines, at most {FUNCTION_MOST}" for name, lines in functions if lines > FUNCTION_MOST]
    if median > FILE_MEDIAN and folder.name not in FEW:
        over.append(f"{folder}: the median file has {median:.0f} lines, at most {FILE_MEDIAN}")
    if p90 > FUNCTION_P90 and folder.name not in FEW:
        over.append(f"{folder}: nine in ten functions have up to {p90} lines, at most {FUNCTION_P90}")
    total = sum(lines for _, lines in files)
    longest = max(lines for _, lines in files), max(lines for _, lines in functions)
    print(
        f"{folder}: {len(files)} files, {total} lines, median {median:.0f}, longest {longest[0]}; "
        f"{len(functions)} functions, p90 {p90}, longest {longest[1]}"
    )
    return over


def main(arguments: list[str]) -> int:
    """Check the folders that exist."""
    over = [line for name in arguments or FOLDERS if Path(name).is_dir() for line in check(Path(name))]
    for line in over:
        print(f"over budget: {line}", file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
