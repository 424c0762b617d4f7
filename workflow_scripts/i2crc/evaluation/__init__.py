"""Metrics, intervals, scores, sweeps, qualities, leaks, preflight, comparison, submission."""
