"""The frame of the `transpose` command: finds the subcommand, imports it alone, and turns errors into sentences.

A subcommand NAME is the module transpose_sdk/cli/NAME.py with `add_arguments(parser) -> None` and `run(args) -> int`.
"""

from __future__ import annotations

import argparse
import importlib
import io
import signal
import sys
from collections.abc import Sequence

COMMANDS: tuple[tuple[str, str], ...] = (
    ("run", "find and pose the people in a video, image, folder, camera or stream"),
    ("view", "show live poses and the attention behind them in a window"),
    ("explain", "draw what the joints of a person were inferred from"),
    ("train", "train a network by a recipe"),
    ("eval", "measure a bundle's average precision on annotated images"),
    ("fit", "make a bundle's scores probabilities, by annotated people"),
    ("export", "turn a checkpoint into a bundle"),
    ("models", "list, describe, import and download networks"),
    ("bench", "measure how fast a network is on this machine, part by part and end to end"),
    ("doctor", "check that every network gives the right answers on this machine"),
)


class _Version(argparse.Action):
    """`--version`, which reads the package's metadata only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("transpose-sdk")
        except PackageNotFoundError:
            number = "(not installed, run from its sources)"
        parser.exit(message=f"transpose {number}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        argv: The arguments without the program's name; those of the process if None.

    Returns:
        The exit code: 0, 2 after an error that says what was wrong, 130 after Ctrl-C, 143 after SIGTERM, 129 after
        SIGHUP, 141 where the reader of stdout has gone. Whatever the command had written until then is complete.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="transpose", description="Real-time human pose with TransPose networks.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, summary in COMMANDS:
        subparser = subparsers.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if name == chosen:
            command = importlib.import_module(f"transpose_sdk.cli.{name}")
            command.add_arguments(subparser)
    args = parser.parse_args(arguments)

    from transpose_sdk.cli.interrupts import interrupts_kept
    from transpose_sdk.errors import TransposeError

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names of files that are not UTF-8, and consoles that don't know a character.
            stream.reconfigure(errors="backslashreplace")
    try:
        with interrupts_kept():
            return int(command.run(args))
    except TransposeError as error:
        if isinstance(error.__cause__, BrokenPipeError):
            import os

            # What is left in the buffer would make the interpreter complain when it flushes it at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        sys.stderr.write(f"transpose: error: {error}\n")
        return 2
    except KeyboardInterrupt as stop:
        signum = getattr(stop, "signum", signal.SIGINT)
        sys.stderr.write(f"transpose: ended by {signal.Signals(signum).name}; what was written so far is complete\n")
        return 128 + signum
