"""Keeps a stand-in running until Ctrl-C, for a person: `python -m tests.standin arm64|pc [FOLDER]`."""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path

from keuos_hil.plugins import grub_iso

from .bench import Bench

_ALONE = ("arm64", "pc")


def main() -> int:
    """Print the configuration, and wait."""
    if len(sys.argv) not in (2, 3) or sys.argv[1] not in _ALONE:
        print(f"usage: python -m tests.standin {'|'.join(_ALONE)} [FOLDER]", file=sys.stderr)
        return 2
    place = Path(sys.argv[2] if len(sys.argv) == 3 else tempfile.mkdtemp(prefix="standin-"))
    place.mkdir(parents=True, exist_ok=True)
    stick = place / "stick.iso"
    if sys.argv[1] == "pc" and grub_iso.main(["--output", str(stick)]):
        return 1
    with Bench(place, sys.argv[1], files={"stick": stick}) as bench:
        print(f"# keuos-hil.toml; Ctrl-C ends the stand-in\n{bench.configuration('standin')}", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
