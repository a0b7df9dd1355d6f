import ast
import inspect
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
    tree = ast.parse(Path(netwright.__file__).read_text())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    imports = {(node.module, alias.name) for node in guarded.body for alias in node.names}
    assert imports == {(module, name) for module, names in netwright._WHERE.items() for name in names}
    assert {name for _, name in imports} == set(netwright.__all__)
    assert set(netwright.__all__) <= set(dir(netwright))


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
