"""Icons as strokes on a 24 px grid, in whatever colour the theme has."""

from __future__ import annotations

from functools import lru_cache

from PyQt6.QtCore import QByteArray, Qt
from PyQt6.QtGui import QIcon, QPainter, QPixmap
from PyQt6.QtSvg import QSvgRenderer

SIZE = 24
SHARPNESS = 3  # pixels of the pixmap for one of the icon

STROKES = {
    "open": "<path d='M3 7a2 2 0 0 1 2-2h4l2 2.5h8a2 2 0 0 1 2 2V17a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2z'/>",
    "camera": "<rect x='3' y='7' width='12' height='10' rx='2'/><path d='M15 11l6-3v8l-6-3'/>",
    "network": "<circle cx='12' cy='12' r='9'/><path d='M3 12h18M12 3c3 3 3 15 0 18M12 3c-3 3-3 15 0 18'/>",
    "screenshot": "<path d='M4 8V6a2 2 0 0 1 2-2h2M16 4h2a2 2 0 0 1 2 2v2M20 16v2a2 2 0 0 1-2 2h-2M8 20H6a2 2 0 0 1-2-2"
    "v-2'/><circle cx='12' cy='12' r='3.5'/>",
    "record": "<circle cx='12' cy='12' r='9'/><circle cx='12' cy='12' r='4.5' fill='COLOR'/>",
    "stop": "<circle cx='12' cy='12' r='9'/><rect x='8.5' y='8.5' width='7' height='7' rx='1' fill='COLOR'/>",
    "play": "<path d='M7 4.5v15l12-7.5z' fill='COLOR'/>",
    "pause": "<path d='M8 5v14M16 5v14' stroke-width='4'/>",
    "step": "<path d='M6 5v14l10-7z' fill='COLOR'/><path d='M19 5v14' stroke-width='2.5'/>",
    "back": "<path d='M18 5v14l-10-7z' fill='COLOR'/><path d='M5 5v14' stroke-width='2.5'/>",
    "loop": "<path d='M4 11V9a3 3 0 0 1 3-3h12M16 3l3 3-3 3M20 13v2a3 3 0 0 1-3 3H5M8 21l-3-3 3-3'/>",
    "settings": "<path d='M4 7h9M19 7h1M4 17h1M11 17h9'/><circle cx='16' cy='7' r='2.5'/>"
    "<circle cx='8' cy='17' r='2.5'/>",
    "help": "<circle cx='12' cy='12' r='9'/><path d='M9.5 9.5a2.5 2.5 0 1 1 3.6 2.2c-.8.4-1.1.9-1.1 1.8M12 16.8v.2'/>",
    "close": "<path d='M6 6l12 12M18 6L6 18'/>",
    "theme": "<circle cx='12' cy='12' r='8.5'/><path d='M12 3.5a8.5 8.5 0 0 1 0 17z' fill='COLOR'/>",
    "person": "<circle cx='12' cy='5' r='2.5'/><path d='M12 8v6M6 10l6-1.5 6 1.5M12 14l-3.5 7M12 14l3.5 7'/>",
}


@lru_cache(maxsize=128)
def icon(name: str, color: str) -> QIcon:
    """An icon in a colour such as "#ffffff"."""
    strokes = STROKES[name].replace("COLOR", color)
    text = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {SIZE} {SIZE}' fill='none' stroke='{color}' "
        f"stroke-width='1.8' stroke-linecap='round' stroke-linejoin='round'>{strokes}</svg>"
    )
    pixmap = QPixmap(SHARPNESS * SIZE, SHARPNESS * SIZE)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    QSvgRenderer(QByteArray(text.encode())).render(painter)
    painter.end()
    return QIcon(pixmap)
