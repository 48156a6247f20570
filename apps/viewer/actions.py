"""What the user can do, with its shortcut and its icon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PyQt6.QtGui import QAction, QKeySequence
from PyQt6.QtWidgets import QWidget

from .style.icons import icon
from .style.theme import Theme


@dataclass(frozen=True)
class Deed:
    """One of them.

    Attributes:
        text: Short, as a button says it.
        shortcut: As Qt spells it.
        hint: In the tooltip and on the help sheet.
        icon: Its name; none where there is no button.
        checkable: Whether it is on or off.
    """

    text: str
    shortcut: str
    hint: str
    icon: str = ""
    checkable: bool = False


DEEDS: dict[str, Deed] = {
    "open": Deed("File…", "Ctrl+O", "Open a file", "open"),
    "folder": Deed("Folder of images…", "Ctrl+Shift+O", "Open a folder of images", "open"),
    "network": Deed("Network stream…", "Ctrl+U", "Open a network stream", "network"),
    "play": Deed("Play", "Space", "Play or pause", "play"),
    "back": Deed("Back", "Left", "One frame back", "back"),
    "step": Deed("Step", "Right", "One frame on", "step"),
    "loop": Deed("Loop", "L", "Begin again at the end", "loop", True),
    "off": Deed("Off", "1", "Show no attention", "", True),
    "heatmap": Deed("Heatmap", "2", "Show the joint's heatmap", "", True),
    "dependency": Deed("Dependency", "3", "Show what the joint was inferred from", "", True),
    "affected": Deed("Affected", "4", "Show what the joint had an effect on", "", True),
    "next": Deed("Next joint", "N", "Next joint"),
    "previous": Deed("Previous joint", "Shift+N", "Previous joint"),
    "clear": Deed("Clear", "Esc", "Let the joint go, or close the message"),
    "skeletons": Deed("Skeletons", "K", "Skeletons on or off"),
    "boxes": Deed("Boxes", "B", "Boxes and ids on or off"),
    "record": Deed("Record", "R", "Record video and JSON", "record", True),
    "screenshot": Deed("Screenshot", "S", "Save a screenshot", "screenshot"),
    "theme": Deed("Theme", "T", "Light or dark", "theme"),
    "panel": Deed("Panel", "P", "Side panel on or off", "settings", True),
    "settings": Deed("Settings", "Ctrl+,", "Settings"),
    "full": Deed("Full screen", "F11", "Full screen on or off"),
    "help": Deed("Help", "F1", "Shortcuts", "help"),
    "quit": Deed("Quit", "Ctrl+Q", "Quit"),
}


def create_actions(window: QWidget, slots: dict[str, Callable[[], object]]) -> dict[str, QAction]:
    """The actions of a window by name; `slots` says what each does."""
    actions = {}
    for name, deed in DEEDS.items():
        action = QAction(deed.text, window)
        action.setShortcut(QKeySequence(deed.shortcut))
        action.setToolTip(f"{deed.hint} ({deed.shortcut})")
        action.setCheckable(deed.checkable)
        action.triggered.connect(lambda _, slot=slots[name]: slot())
        window.addAction(action)
        actions[name] = action
    return actions


def color_actions(actions: dict[str, QAction], theme: Theme, playing: bool, recording: bool) -> None:
    """Icons in the theme's colours, and for what the play and record buttons do now."""
    for name, deed in DEEDS.items():
        if deed.icon:
            shown = {"play": "pause" if playing else "play", "record": "stop" if recording else "record"}
            color = theme.danger if name == "record" and recording else theme.text
            if name == "loop" and actions[name].isChecked():
                color = theme.accent
            actions[name].setIcon(icon(shown.get(name, deed.icon), color))
