"""How long things live: what a `with` block closes, and what the end of a process waits for."""
