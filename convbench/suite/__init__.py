"""Suites: named collections of problems as values, their files, and conditions that select cases."""

from convbench.suite.cases import Case, Outline, Suite
from convbench.suite.load import builtin_outlines, builtin_suites, load_suite

__all__ = ["Case", "Outline", "Suite", "builtin_outlines", "builtin_suites", "load_suite"]
