"""argv in, text or JSON out; one file per family of verbs."""
