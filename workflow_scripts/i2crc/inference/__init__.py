"""A trained network on photographs."""
