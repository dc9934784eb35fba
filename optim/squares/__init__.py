"""Nonlinear least squares and curve fitting."""
