"""Metrics, intervals, sweeps, leaks, preflight, comparison."""
