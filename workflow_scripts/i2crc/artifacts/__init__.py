"""How stages meet: manifests, journals, provenance, lineage, schemas, the list of all stages."""
