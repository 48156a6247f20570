"""What plays, poses, draws and records, on threads of its own and without Qt; `worker` holds it together."""
