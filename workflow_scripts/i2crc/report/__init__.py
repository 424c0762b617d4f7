"""Figures, pages and contact sheets."""
