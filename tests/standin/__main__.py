"""Keeps a stand-in running until Ctrl-C or SIGTERM, for a person: `python -m tests.standin --help`."""

from __future__ import annotations

import argparse
import math
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from keuos_hil.plugins import grub_iso

from .bench import Bench
from .damage import Noise

_PROG = "python -m tests.standin"
_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _rate(text: str) -> float:
    rate = float(text)
    if not (math.isfinite(rate) and 0 <= rate <= 1):
        raise ValueError
    return rate


def _bits(text: str) -> int:
    if (baud := int(text)) < 10:
        raise ValueError
    return baud


_rate.__name__, _bits.__name__ = "chance from 0 to 1", "bit rate"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROG,
        description="Keep an emulated board running: a tty, a power switch, a wire, a debug server. Its tables for "
        "keuos-hil.toml are printed; Ctrl-C ends it, and all that it made is gone.",
        epilog=f"example: {_PROG} arm64 >board.toml, and beside it: "
        "pytest --target=standin --hil-config=board.toml suites/boot",
    )
    parser.add_argument(
        "kind", choices=("arm64", "pc"), help="arm64: boots by U-Boot, over its wire; pc: by GRUB, from a stick"
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, metavar="FOLDER",
        help="where tty and sockets lie; its name must be short (default: a new one among the temporary files)",
    )  # fmt: skip
    line = parser.add_argument_group("the serial line, both ways")
    what = {"flip": "one bit of it flips", "drop": "it is lost", "insert": "another comes before it"}
    for name, happens in what.items():
        help_text = f"chance, for each byte, that {happens}, such as 1e-4 (default: 0)"
        line.add_argument(f"--{name}", type=_rate, default=0.0, metavar="RATE", help=help_text)
    line.add_argument("--baud", type=_bits, default=0, help="bits a second (default: as fast as it goes)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Print the configuration, and wait; the exit status is 0, or 1 if it can't be started."""
    chosen = _parser().parse_args(arguments)
    for number in _ENDS:
        signal.signal(number, signal.default_int_handler)
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        try:
            place = _folder(chosen.folder, stack)
            if (place / "power").exists():
                raise FileExistsError(
                    f"{place} holds a stand-in, or what one left that was killed; take another folder"
                )
            _run(chosen, place, stack)
        except OSError as error:
            print(f"{_PROG}: {error}", file=sys.stderr)
            return 1
        return 1
    return 0


def _folder(named: Path | None, stack: ExitStack) -> Path:
    """The stand-in's folder; one of its own making is gone in the end."""
    if named is None:
        place = Path(tempfile.mkdtemp(prefix="standin-"))
        stack.callback(shutil.rmtree, place, ignore_errors=True)
    else:
        place = named
        if not place.is_dir():
            place.mkdir(parents=True)
            stack.push(lambda *exc: place.rmdir() if not any(place.iterdir()) else None)
    return place


def _run(chosen: argparse.Namespace, place: Path, stack: ExitStack) -> None:
    """Until a signal comes; returns if the stick can't be made."""
    stick = place / "stick.iso"
    baud: dict[str, Any] = {"baud": chosen.baud} if chosen.baud else {}
    if chosen.kind == "pc":
        stack.callback(stick.unlink, missing_ok=True)
        if grub_iso.main(["--output", str(stick), *(f"--{key}={value}" for key, value in baud.items())]):
            return
    noise = Noise(chosen.flip, chosen.drop, chosen.insert)
    bench = Bench(place, chosen.kind, files={"stick": stick}, noise=noise, baud=chosen.baud)
    stack.callback(bench.sweep)
    stack.enter_context(bench)
    stack.callback(lambda: [signal.signal(number, signal.SIG_IGN) for number in _ENDS])  # one is enough
    damages: dict[str, Any] = {"noisy": True} if noise.flip or noise.drop or noise.insert else {}
    print(
        f"# keuos-hil.toml; Ctrl-C ends the stand-in\n{bench.configuration('standin', **baud, **damages)}", flush=True
    )
    while True:
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
