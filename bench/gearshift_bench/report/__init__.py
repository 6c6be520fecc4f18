"""The report: one HTML file from a result document, and its pictures as files.

Everything in a document is taken as written by a stranger: it is checked against the schema first
and escaped wherever it is written.
"""

from gearshift_bench.report.page import write_report
from gearshift_bench.report.plots import write_plots

__all__ = ["write_plots", "write_report"]
