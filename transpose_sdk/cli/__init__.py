"""The `transpose` command: one file a subcommand."""
