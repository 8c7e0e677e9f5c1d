"""Figures, tables and the HTML of the report."""
