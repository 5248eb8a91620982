"""The encoder study: what was run, what follows from it, and the report."""
