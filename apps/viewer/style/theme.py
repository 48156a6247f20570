"""Colours and the style sheet, light and dark."""

from __future__ import annotations

from dataclasses import dataclass

from PyQt6.QtCore import Qt
from PyQt6.QtGui import QColor, QPalette
from PyQt6.QtWidgets import QApplication

CHOICES = ("system", "light", "dark")


@dataclass(frozen=True)
class Theme:
    """Colours by what they are for.

    Attributes:
        window: Behind everything.
        surface: Of bars and panels.
        raised: Of what can be pressed.
        border: Of thin lines.
        text: To read.
        muted: To read if need be.
        accent: What is chosen.
        on_accent: Text on the accent.
        danger: Errors and the recording light.
        backdrop: Around the picture.
        series: Lines and bars of the plots; readable beside each other, also for the colour-blind.
    """

    name: str
    window: str
    surface: str
    raised: str
    border: str
    text: str
    muted: str
    accent: str
    on_accent: str
    danger: str
    backdrop: str
    series: tuple[str, ...]


DARK = Theme(
    "dark", "#13161b", "#1a1e25", "#262c35", "#313945", "#e8ebf0", "#98a3b3", "#5aa2ff", "#08182e", "#ff6f61",
    "#0b0d10",
    ("#5aa2ff", "#f2a65a", "#e05c86", "#58c4a3", "#b48cf2", "#d6c25b", "#6fb7d6", "#8b95a5"),
)  # fmt: skip
LIGHT = Theme(
    "light", "#f3f4f7", "#ffffff", "#e9ecf1", "#d5dae2", "#171c24", "#5a6575", "#1b66d6", "#ffffff", "#c93a2c",
    "#dfe3e9",
    ("#1b66d6", "#c4731a", "#b8325f", "#1d8a68", "#7b4fc9", "#8f7a12", "#2d7fa3", "#6b7686"),
)  # fmt: skip


def chosen_theme(choice: str) -> Theme:
    """The theme for one of CHOICES; "system" follows the desktop, dark where it does not say."""
    if choice == "system":
        hints = QApplication.styleHints()
        light = hints is not None and hints.colorScheme() == Qt.ColorScheme.Light
        return LIGHT if light else DARK
    return LIGHT if choice == "light" else DARK


def palette(theme: Theme) -> QPalette:
    """For what the style sheet does not reach, such as file dialogs."""
    roles = QPalette.ColorRole
    colors = {
        roles.Window: theme.surface, roles.Base: theme.window, roles.AlternateBase: theme.raised,
        roles.Button: theme.raised, roles.Text: theme.text, roles.WindowText: theme.text, roles.ButtonText: theme.text,
        roles.ToolTipBase: theme.raised, roles.ToolTipText: theme.text, roles.PlaceholderText: theme.muted,
        roles.Highlight: theme.accent, roles.HighlightedText: theme.on_accent, roles.Mid: theme.border,
    }  # fmt: skip
    result = QPalette()
    for role, color in colors.items():
        result.setColor(role, QColor(color))
    for role in (roles.Text, roles.WindowText, roles.ButtonText):
        result.setColor(QPalette.ColorGroup.Disabled, role, QColor(theme.muted))
    return result


def style_sheet(theme: Theme) -> str:
    """Qt's style sheet of the window."""
    return f"""
* {{ font-family: "Inter", "Segoe UI", "SF Pro Text", "Noto Sans", "DejaVu Sans", sans-serif; font-size: 13px; }}
QMainWindow, QDialog {{ background: {theme.window}; }}
QWidget {{ color: {theme.text}; }}
QLabel#muted {{ color: {theme.muted}; font-size: 12px; }}
QLabel#heading {{ color: {theme.muted}; font-size: 11px; font-weight: 600; letter-spacing: 1px; }}
QLabel#title {{ font-size: 22px; font-weight: 600; }}
QLabel#source {{ font-weight: 600; }}
QWidget#bar, QWidget#panel, QWidget#page {{ background: {theme.surface}; }}
QWidget#bar {{ border-bottom: 1px solid {theme.border}; }}
QWidget#transport {{ background: {theme.surface}; border-top: 1px solid {theme.border}; }}
QWidget#panel {{ border-left: 1px solid {theme.border}; }}
QScrollArea {{ background: {theme.surface}; border: none; }}
QFrame#line {{ background: {theme.border}; border: none; max-height: 1px; }}
QToolButton, QPushButton {{
  background: {theme.raised}; border: 1px solid {theme.border}; border-radius: 6px; padding: 6px 10px; }}
QToolButton:hover, QPushButton:hover {{ border-color: {theme.accent}; }}
QToolButton:pressed, QPushButton:pressed {{ background: {theme.border}; }}
QToolButton:disabled, QPushButton:disabled {{ color: {theme.muted}; background: transparent; }}
QToolButton:focus, QPushButton:focus, QComboBox:focus, QLineEdit:focus, QSpinBox:focus, QDoubleSpinBox:focus {{
  border-color: {theme.accent}; }}
QToolButton#flat {{ background: transparent; border-color: transparent; padding: 6px; }}
QToolButton#flat:hover {{ background: {theme.raised}; }}
QToolButton#flat:checked {{ background: {theme.raised}; border-color: {theme.border}; }}
QToolButton::menu-indicator {{ image: none; }}
QPushButton#primary {{ background: {theme.accent}; color: {theme.on_accent}; border-color: {theme.accent};
  font-weight: 600; }}
QToolButton#segment {{ border-radius: 0; padding: 6px 14px; background: transparent; border-width: 1px 0 1px 1px; }}
QToolButton#segment[place="first"] {{ border-top-left-radius: 6px; border-bottom-left-radius: 6px; }}
QToolButton#segment[place="last"] {{ border-top-right-radius: 6px; border-bottom-right-radius: 6px;
  border-right-width: 1px; }}
QToolButton#segment:hover {{ background: {theme.raised}; }}
QToolButton#segment:checked {{ background: {theme.accent}; color: {theme.on_accent}; border-color: {theme.accent}; }}
QComboBox, QLineEdit, QSpinBox, QDoubleSpinBox {{
  background: {theme.window}; border: 1px solid {theme.border}; border-radius: 6px; padding: 5px 8px;
  selection-background-color: {theme.accent}; selection-color: {theme.on_accent}; }}
QComboBox::drop-down {{ border: none; width: 20px; }}
QComboBox QAbstractItemView, QMenu {{
  background: {theme.surface}; border: 1px solid {theme.border}; padding: 4px; outline: none;
  selection-background-color: {theme.accent}; selection-color: {theme.on_accent}; }}
QMenu::item {{ padding: 6px 22px; border-radius: 4px; }}
QMenu::item:selected {{ background: {theme.accent}; color: {theme.on_accent}; }}
QMenu::item:disabled {{ color: {theme.muted}; }}
QMenu::separator {{ height: 1px; background: {theme.border}; margin: 4px 8px; }}
QTabWidget::tab-bar {{ left: 0; }}
QTabBar {{ background: {theme.surface}; }}
QTabBar::tab {{ background: {theme.surface}; color: {theme.muted}; padding: 9px 18px;
  border-bottom: 2px solid transparent; }}
QTabBar::tab:selected {{ color: {theme.text}; border-bottom-color: {theme.accent}; }}
QTabWidget::pane {{ border: none; border-top: 1px solid {theme.border}; }}
QSlider::groove:horizontal {{ height: 4px; background: {theme.border}; border-radius: 2px; }}
QSlider::sub-page:horizontal {{ background: {theme.accent}; border-radius: 2px; }}
QSlider::sub-page:horizontal:disabled {{ background: {theme.border}; }}
QSlider::handle:horizontal {{ background: {theme.text}; width: 14px; height: 14px; margin: -5px 0;
  border-radius: 7px; }}
QSlider::handle:horizontal:disabled {{ background: {theme.muted}; }}
QScrollBar:vertical {{ width: 8px; background: transparent; }}
QScrollBar::handle:vertical {{ background: {theme.border}; border-radius: 4px; min-height: 30px; }}
QScrollBar::add-line, QScrollBar::sub-line {{ height: 0; width: 0; }}
QToolTip {{ background: {theme.raised}; color: {theme.text}; border: 1px solid {theme.border}; padding: 4px; }}
QFrame#banner {{ background: {theme.surface}; border: 1px solid {theme.border}; border-left: 4px solid {theme.accent};
  border-radius: 6px; }}
QFrame#banner[kind="error"] {{ border-left-color: {theme.danger}; }}
"""
