"""Many starts, one result."""

from .multistart import multistart

__all__ = ["multistart"]
