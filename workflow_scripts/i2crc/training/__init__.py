"""The one engine of both trainings, their losses and data sets."""
