"""The report as one HTML file that opens offline. Jinja and Matplotlib are slow: import on use."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Mapping
from importlib.metadata import version

import jinja2

from tritloom.energy_model.costs.datafile import DATA
from tritloom.energy_model.machine.text import machine_dict

from .plot import svg_plots
from .report import Report
from .sheets import (
    FIGURES,
    HEADLINE,
    figure_rows,
    headline_rows,
    layer_tables,
    note_numbers,
    set_up,
    title,
)

_PROGRAMS = ("tritloom", "numpy", "matplotlib")


def report_html(report: Report, options: Mapping[str, object]) -> str:
    """The report as a page with plots, tables, notes, costs, configuration and versions.

    Parameters
    ----------
    options : mapping
        Of the command line, to print.
    """
    references = note_numbers(report)
    template = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    ).from_string((DATA / "report.html.jinja").read_text(encoding="utf-8"))
    costs = sorted((report.costs.entries | report.bitnet.prices.entries).items())
    parameters = {
        "Model": dataclasses.asdict(report.llama.model),
        "Machine": machine_dict(report.llama.machine),
    }
    return template.render(
        title=title(report),
        headline=(HEADLINE, headline_rows(report)),
        verdicts=[headline.text for headline in report.headlines],
        set_up=set_up(report),
        plots=svg_plots(report),
        figures=(FIGURES, [row for rows in figure_rows(report, references) for row in rows]),
        layers=list(layer_tables(report, references)),
        notes=report.notes,
        costs=(
            ("Action", ">Low", ">Nominal", ">High", "Unit", "Tier", "Source"),
            [
                (
                    action,
                    *(f"{level:.4g}" for level in (cost.low, cost.nominal, cost.high)),
                    *(cost.unit, str(cost.tier), cost.source),
                )
                for action, cost in costs
            ],
        ),
        options=[(name, str(value)) for name, value in options.items()],
        versions=[
            *((name, version(name)) for name in _PROGRAMS),
            ("python", platform.python_version()),
        ],
        parameters={name: json.dumps(value, indent=2) for name, value in parameters.items()},
    )
