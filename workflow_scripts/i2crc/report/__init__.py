"""Figures, pages and contact sheets of the report."""
