"""Reports of runs: how far a search came, by which steps, what was refused, where time went."""

from m890sim.report.lineage import LineageStep
from m890sim.report.refusals import Refusal
from m890sim.report.run import RunReport, report_of

__all__ = ["Refusal", "RunReport", "LineageStep", "report_of"]
