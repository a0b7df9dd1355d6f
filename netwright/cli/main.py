"""The command line: one verb a file. Nothing heavy is imported before a verb runs."""

from __future__ import annotations

from typing import Annotated

import typer

from netwright.cli.compile import compile
from netwright.cli.demo import demo
from netwright.cli.deploy import deploy
from netwright.cli.device import device
from netwright.cli.emulate import emulate
from netwright.cli.finish import finish
from netwright.cli.profile import profile
from netwright.cli.report import report
from netwright.cli.result import verb
from netwright.cli.search import search
from netwright.cli.train import train

app = typer.Typer(
    name="netwright",
    help="From a vision dataset, a device and a budget to the best network that fits, measured on that device.",
    epilog="Begin with: netwright demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: importing rich takes half of the time of `--help`
)
for function in (demo, train, device, search, finish, deploy, compile, emulate, report, profile):
    app.command(function.__name__)(verb(function, resumable=function in (demo, train, search, finish)))


def _version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        print(metadata.version("netwright"))
        raise typer.Exit()


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


def main() -> None:
    """Run the command line with the process's arguments and end the process."""
    app(prog_name="netwright")
