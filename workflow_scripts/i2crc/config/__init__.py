"""The one typed description of all settings, and reading it from files."""
