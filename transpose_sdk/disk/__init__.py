"""What lies on the disk: files that are written whole, files that are kept for the next time, the user's own folder."""
