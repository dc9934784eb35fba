"""The programs that are timed, each written once over a namespace `xp`, with the derivative by hand beside.

A workload is a function of its size that gives a `Case`.  Before anything is timed, all libraries' values and
gradients are compared (`agree`); tests/test_benchmarks.py does so at the smallest size.
"""
from . import adbench, dynamics, fields, inference, second_order, small  # each fills WORKLOADS
from .case import WORKLOADS, Case, Workload, agree

__all__ = ["WORKLOADS", "Case", "Workload", "agree"]
