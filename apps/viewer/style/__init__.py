"""Colours, style sheets and icons."""
