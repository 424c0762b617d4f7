"""The training loop of both networks, their losses and their training samples."""
