"""One HTML file that shows a report and opens offline.

Jinja and Matplotlib are slow to import, so this module is imported on use.
"""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Mapping
from importlib.metadata import version

import jinja2

from tritloom.console.sheet import Sheet, Table, render
from tritloom.energy_model.costs.datafile import DATA
from tritloom.energy_model.machine.text import machine_dict

from .plot import svg_plots
from .report import Report
from .sheets import figure_table, headline_table, layer_tables, set_up, title

_PROGRAMS = ("tritloom", "numpy", "matplotlib")


def report_html(report: Report, options: Mapping[str, object]) -> str:
    """Render a report as a page with plots, tables, notes, costs, configuration and versions.

    Parameters
    ----------
    options : mapping
        Options of the command line, which the page shows.
    """
    template = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    ).from_string((DATA / "report.html.jinja").read_text(encoding="utf-8"))
    parameters = {
        "Model": dataclasses.asdict(report.llama.model),
        "Machine": machine_dict(report.llama.machine),
    }
    return template.render(
        title=title(report),
        headline=_html(headline_table(report)),
        verdicts=[headline.text for headline in report.headlines],
        set_up=set_up(report),
        plots=svg_plots(report),
        figures=_html(figure_table(report)),
        layers=[_html(table) for table in layer_tables(report)],
        notes=report.notes,
        costs=_html(_cost_table(report)),
        options=_html(
            Table(
                headers=("Option", "Value"),
                rows=[(name, str(value)) for name, value in options.items()],
            )
        ),
        versions=_html(
            Table(
                headers=("Program", "Version"),
                rows=[
                    *((name, version(name)) for name in _PROGRAMS),
                    ("python", platform.python_version()),
                ],
            )
        ),
        parameters={name: json.dumps(value, indent=2) for name, value in parameters.items()},
    )


def _html(table: Table) -> str:
    return render(Sheet(parts=[table]), "html")


def _cost_table(report: Report) -> Table:
    """Make a table of every cost that either system pays."""
    costs = sorted({**report.costs.entries, **report.bitnet.prices.entries}.items())
    return Table(
        headers=("Action", ">Low", ">Nominal", ">High", "Unit", "Tier", "Source"),
        rows=[
            (
                action,
                *(f"{level:.4g}" for level in (cost.low, cost.nominal, cost.high)),
                *(cost.unit, str(cost.tier), cost.source),
            )
            for action, cost in costs
        ],
    )
