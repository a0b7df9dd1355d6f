import ast
import inspect
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import netwright

PUBLIC = sorted(netwright.__all__)


def test_importing_the_package_loads_no_torch():
    code = "import sys, netwright; netwright.__version__; print(sorted({'torch', 'numpy', 'typer'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_version_is_that_of_the_installed_package():
    assert netwright.__version__ == metadata.version("netwright")


def test_names_are_listed_alike_for_people_editors_and_python():
    """The stub says what the table says; tools/write_stub.py writes it."""
    tree = ast.parse(Path(netwright.__file__).with_suffix(".pyi").read_text())
    imports = {
        alias.asname: f"{node.module}:{alias.name}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imports == netwright.PUBLIC
    assert netwright.__all__ == list(netwright.PUBLIC)
    assert set(netwright.__all__) <= set(dir(netwright))


def test_no_public_name_is_that_of_a_package_of_the_same_folder():
    """`netwright.train` would be one or the other, depending on what was imported first."""
    folder = Path(netwright.__file__).parent
    assert not {path.stem for path in folder.iterdir()} & set(netwright.PUBLIC)


def test_every_public_name_stands_in_the_reference():
    page = (Path(__file__).parents[1] / "docs" / "reference.md").read_text()
    shown = re.findall(r"^::: (\S+)$", page, re.MULTILINE)
    assert sorted(shown) == sorted(where.replace(":", ".") for where in netwright.PUBLIC.values())


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_loads_and_is_documented(name):
    value = getattr(netwright, name)
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return
    assert inspect.getdoc(value), f"{name} has no docstring"
    for attribute, member in vars(value).items():
        if inspect.isfunction(member) and not attribute.startswith("_"):
            assert inspect.getdoc(getattr(value, attribute)), f"{name}.{attribute} has no docstring"


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Supernett'"):
        _ = netwright.Supernett
