"""How stages meet: manifests and journals, provenance, lineage, JSON schemas, the list of stages."""
