"""The desktop viewer: live poses, and the attention that explains each joint.

    app, window     start it, and join the parts of the window to the engine
    widgets/        the parts of the window
    bridge          where Qt and the engine's threads meet: its calls become signals
    memory          what is remembered from one start to the next
    actions         what menus and keys do
    style/          colours, style sheets, icons
    engine/         plays, poses, draws and records on threads of its own, without Qt

Imports point down this list; the engine imports none of the rest.
"""
