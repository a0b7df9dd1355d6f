"""What can be named: the spaces and the devices."""

from __future__ import annotations


def list_spaces() -> list[str]:
    """Return the names of the search spaces that come with netwright."""
    from netwright.models.families import SPACES

    return sorted(SPACES)


def list_devices() -> list[str]:
    """Return the names of the devices that are known from data sheets, `this`, and those that were measured.

    A device that was measured on another machine is given by its latency model's FILE.json.
    """
    from netwright.device.machines import MACHINES
    from netwright.device.store import THIS, home

    measured = home() / "devices"
    folders = sorted(folder.name for folder in measured.iterdir() if folder.is_dir()) if measured.is_dir() else []
    return [*MACHINES, THIS, *folders]
