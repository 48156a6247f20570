"""The desktop viewer: live poses, and the attention that explains each joint.

Without Qt: settings, events, playback, loader, player, painter, picture, glow, following, recording, statistics,
cameras and, holding them together, worker. Where Qt and threads meet: bridge. All other files are the window.
"""
