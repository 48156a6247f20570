"""What this machine can do: how fast, and whether its answers are right."""
