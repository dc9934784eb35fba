"""Roots and fixed points."""
