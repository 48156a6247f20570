"""Pages that are made of the package itself when the site is built: a card for each bundle, and the commands' help.

A hook of mkdocs (mkdocs.yml). The cards and their place in the navigation follow from the bundles that ship.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from transpose_sdk.cli.main import COMMANDS

ASSETS = Path(__file__).resolve().parents[2] / "transpose_sdk" / "assets"
CARDS = "CARDS"  # stands in the navigation for the bundles
WIDTH = "100"  # columns of the commands' help


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the cards into the navigation."""
    for section in config.nav or []:
        for pages in section.values():
            if CARDS in pages:
                place = pages.index(CARDS)
                pages[place : place + 1] = [f"models/{name}.md" for name in cards()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for name, description in cards().items():
        files.append(File.generated(config, f"models/{name}.md", content=card(description)))
    files.append(File.generated(config, "reference/commands.md", content=commands()))
    return files


def cards() -> dict[str, dict[str, Any]]:
    """The descriptions of the bundles that ship, by name; pose networks first."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(ASSETS.glob("*.tpose/bundle.json"))]
    return {one["name"]: one for one in sorted(found, key=lambda one: one["kind"] != "pose")}


def card(bundle: dict[str, Any]) -> str:
    """A model card in Markdown: all that bundle.json says of what it is, what it is worth and where it is from."""
    height, width = bundle["input_size"]
    folder = ASSETS / f"{bundle['name']}.tpose"
    megabytes = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    rows: list[tuple[str, object]] = [
        ("kind", "person detector" if bundle["kind"] == "detector" else "pose network, one person a crop"),
        ("input", f"{height}x{width} px"),
        ("on disk", f"{megabytes:.1f} MB"),
        ("graphs", ", ".join("checkpoint" if name == "torch" else name.upper() for name in bundle["graphs"])),
    ]
    if bundle["kind"] == "pose":
        skeleton, network, grid = bundle["skeleton"], bundle["network"], (bundle.get("attention") or {}).get("grid")
        rows += [
            ("network", f"{network['name']}: {network['layers']} layers of {network['d_model']}"),
            ("skeleton", f"{skeleton['name']}, {len(skeleton['names'])} joints"),
            ("flip test", "always, unless `flip_test=False`" if bundle.get("flip_test") else "on demand"),
            ("cells of the attention", "none" if grid is None else f"{grid[0]}x{grid[1]}"),
            ("probabilities fitted on", (bundle.get("scores") or {}).get("fitted_on", "nobody: estimated")),
        ]
    rows += [(name, bundle[key]) for key, name in TEXTS.items() if bundle.get(key)]
    parts = [f"# {bundle['name']}\n", table(rows)]
    for key, title in SECTIONS.items():
        if bundle.get(key):
            parts += [f"## {title}\n", table(flat(bundle[key]))]
    parts.append(f"Made from `{folder.name}/bundle.json`; `transpose models info {bundle['name']}` prints the same.\n")
    return "\n".join(parts)


TEXTS = {
    "score_threshold": "score threshold",
    "weaknesses": "weaknesses",
    "origin": "began as",
    "training_data": "trained on",
    "licence": "licence",
}
SECTIONS = {
    "accuracy": "What it is worth",
    "measured": "What it is worth",
    "parity": "How far its graphs are from the FP32 network",
    "training": "Training",
}


def flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    """A nested mapping as rows; a list of stages is a row each."""
    rows: list[tuple[str, object]] = []
    for key, item in value.items():
        name = f"{prefix}{key.replace('_', ' ')}"
        if isinstance(item, dict):
            rows += flat(item, f"{name}: ")
        elif isinstance(item, list) and item and isinstance(item[0], dict):
            for one in item:
                texts = [f"{inner} {text}" for inner, text in one.items() if inner != "stage"]
                rows.append((f"{key[:-1]} {one.get('stage', '')}", ", ".join(texts)))
        else:
            rows.append((name, item))
    return rows


def table(rows: list[tuple[str, object]]) -> str:
    """Rows as a Markdown table."""
    lines = ["| what | |", "|---|---|"]
    lines += [f"| {name} | {str(value).replace('|', chr(92) + '|')} |" for name, value in rows]
    return "\n".join(lines) + "\n"


def commands() -> str:
    """The help of every command, as `transpose COMMAND --help` prints it."""
    os.environ["COLUMNS"] = WIDTH
    parts = ["# Commands\n", "What `transpose COMMAND --help` prints.\n"]
    for name, summary in COMMANDS:
        sentence = f"{summary[0].upper()}{summary[1:]}."
        parser = argparse.ArgumentParser(prog=f"transpose {name}", description=sentence)
        importlib.import_module(f"transpose_sdk.cli.{name}").add_arguments(parser)
        parts.append(f"## transpose {name}\n\n```text\n{parser.format_help()}```\n")
    return "\n".join(parts)
