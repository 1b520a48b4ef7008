"""The frames of a test that failed: kept beside its session's logs, as a pcap and in words, and shown by a report.

What lives here: the files, and the way from a run's results back to them. Who kept which frames is the tests' affair.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .transcript import Transcript

#: The heading of a failure's part that names the files.
HEADING = "frames"
#: Lines that are kept in words: more than a person reads, and less than a browser minds.
_LINES = 2000


def keep(transcript: Transcript, directory: Path, test: str) -> str:
    """Write the files into `directory`, under the test's name; where they are, a line each."""
    stem = directory / re.sub(r"[^A-Za-z0-9_.-]+", "-", test).strip("-")
    pcap, words = stem.with_name(stem.name + ".pcap"), stem.with_name(stem.name + ".frames.txt")
    transcript.write_pcap(pcap)
    words.write_text("".join(f"{line}\n" for line in transcript.lines(_LINES)))
    return f"{pcap}\n{words}"


def told(results: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Results in which failures hold the frames in words, where their files can be found.

    Args:
        results: of a results.json.
        folder: the run's, wherever it lies now.
    """
    return dict(results) | {"tests": [_with_frames(test, folder) for test in results["tests"]]}


def _with_frames(test: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    parts = []
    for heading, text in test.get("failure", ()):
        parts.append([heading, text])
        if heading == HEADING:
            words = Path(text.splitlines()[-1])
            for place in (words, folder / "/".join(words.parts[-3:])):  # sessions/NAME/FILE of a run
                with suppress(OSError):
                    parts.append(["frames in words", place.read_text(errors="replace")])
                    break
    return dict(test) | ({"failure": parts} if parts else {})
