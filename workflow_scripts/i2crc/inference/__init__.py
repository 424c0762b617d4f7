"""Predictions of trained networks on photographs."""
