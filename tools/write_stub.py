"""Write netwright/__init__.pyi, which type checkers and editors read, from the table of public names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
STUB = ROOT / "netwright" / "__init__.pyi"


def stub() -> str:
    """Return the text of the stub."""
    sys.path.insert(0, str(ROOT))
    from netwright import PUBLIC

    lines = []
    for name, where in PUBLIC.items():
        module, _, attribute = where.partition(":")
        lines.append(f"from {module} import {attribute} as {name}")
    text = "\n".join(["# Written by tools/write_stub.py from the table in __init__.py.", *sorted(lines)])
    names = "".join(f"    {name!r},\n" for name in PUBLIC)
    return f"{text}\n\n__all__ = [\n{names}]\n\nPUBLIC: dict[str, str]\n__version__: str\n"


def main() -> None:
    """Write the stub, in the project's format."""
    STUB.write_text(stub())
    ruff = [sys.executable, "-m", "ruff"]
    subprocess.run([*ruff, "check", "--fix", "--quiet", str(STUB)], check=True)
    subprocess.run([*ruff, "format", "--quiet", str(STUB)], check=True)


if __name__ == "__main__":
    main()
