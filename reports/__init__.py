"""The HTML report of a score run: one self-contained document, figures and pictures included."""

from reports.columns import REPORT_TABLES, ReportError
from reports.findings import findings
from reports.report import render_report

__all__ = ["REPORT_TABLES", "ReportError", "findings", "render_report"]
