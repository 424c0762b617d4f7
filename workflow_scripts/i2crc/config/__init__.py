"""The one typed description of all settings, and how it is read."""
