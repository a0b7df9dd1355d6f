"""The commands on the pages exist, with the options that they are shown with."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from netwright.cli.main import app

ROOT = Path(__file__).parents[2]
VERBS = get_command(app).commands
SHOWN = sorted(
    {
        (page.name, line)
        for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
        for line in re.findall(r"^ *(?:torchrun .* -m )?(netwright [a-z].*)$", page.read_text(), re.MULTILINE)
        if " --" in line or line.split()[1] in VERBS
    }
)


@pytest.mark.parametrize(("page", "line"), SHOWN)
def test_command_on_a_page_exists(page, line):
    _, verb, *words = shlex.split(line, comments=True)
    assert verb in VERBS
    options = {name for parameter in VERBS[verb].params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_command_has_its_section(verb):
    assert f"\n## {verb}\n" in (ROOT / "docs" / "commands.md").read_text()
