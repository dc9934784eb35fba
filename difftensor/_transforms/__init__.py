"""Transformations of functions: derivatives in reverse and forward mode, and what is derived from them."""
