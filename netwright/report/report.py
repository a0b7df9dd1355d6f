"""One HTML file about a run."""

from __future__ import annotations

from pathlib import Path

from netwright.core.files import write_bytes
from netwright.core.run import Run
from netwright.models.family import Family
from netwright.models.own_space import read_family
from netwright.report import sections
from netwright.report.facts import Facts
from netwright.report.html import join, page, tag


def write_report(run: Run, family: Family | None = None) -> Path:
    """Write RUN/report.html from what the run holds so far, and return its path.

    The file loads nothing from outside. Parts that are not there yet are named, with the command that makes them.
    `family`: needed for a run of a space of the user's own.

    Raises:
        NetwrightError: the run's space is not known here, or the file cannot be written.
    """
    facts = Facts.of(run)
    what = sections.noun(facts.metric)
    made = family or read_family(run.config, str(run.path))
    body = [
        sections.summary(facts),
        tag("h2", "Networks found"),
        sections.networks(facts, made),
        tag("h2", f"{what[:1].upper()}{what[1:]} against cost"),
        sections.trade_off(facts),
        tag("h2", "Deployed"),
        sections.deployed(facts),
        tag("h2", "Training"),
        sections.training(facts),
        tag("h2", "Predictions and measurements"),
        tag("div", sections.latency(facts), sections.predictor(facts), class_="plots"),
        tag("h2", "Candidates"),
        sections.candidates(facts),
        tag("h2", "Make it again"),
        sections.reproduce(facts),
    ]
    path = run.path / "report.html"
    write_bytes(path, page(f"{facts.name}: netwright report", join(body)).encode())
    return path
