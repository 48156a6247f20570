"""Programs for people, on top of the SDK."""
