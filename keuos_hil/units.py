"""Sizes as people write them."""

from __future__ import annotations

import re

from .errors import UsageError

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def parse_size(text: str, what: str = "a size") -> int:
    """Bytes in "128M", "1G", "64K" or "4096". Raises UsageError for anything else."""
    match = re.fullmatch(r"(\d+)\s*([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise UsageError(f"{what}: expected a number with K, M or G behind it, such as 128M; found {text!r}")
    return int(match.group(1)) * _UNITS[match.group(2).upper()]
