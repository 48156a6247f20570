"""Models on disk: bundles, their self-check, and those that are at hand."""
