"""Sources of pictures and sinks for poses."""
