"""The operations, one file per chapter of NumPy's reference; each declared once."""
