"""The statistics of tables and of the report: intervals, tests, Pareto fronts, scores and ranks.

They are written here, and not taken from scipy, so that a table starts fast; the tests hold them against scipy. numpy
is imported where it is needed, which is never for numbers that `bench.report.memo` knows already.
"""

from bench.report.statistics.intervals import CONFIDENCE, Interval, mean, mean_interval, wilson

LEVEL = 1 - CONFIDENCE  # a difference counts where its corrected p-value is at most this

__all__ = ["CONFIDENCE", "LEVEL", "Interval", "mean", "mean_interval", "wilson"]
