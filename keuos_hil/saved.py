"""Files that a user names: checked by the packaged JSON schemas when they are read, and written whole or not at all."""

from __future__ import annotations

import json
import math
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError

#: Characters of what the schema says of a fault.
_FAULT_MOST = 160
_SAMPLES_FILE = "samples.npz"


def read(path: Path, kind: str, what: str) -> dict[str, Any]:
    """A file as keuos_hil/schema/KIND.schema.json describes it.

    Args:
        kind: `results` or `baseline`.
        what: the file is expected to be, for the message.

    Raises:
        UsageError: it can't be read, is of another kind or version, or is not as its schema says: where, in one line.
    """
    schema = json.loads(files("keuos_hil").joinpath(f"schema/{kind}.schema.json").read_text())
    try:
        document: Any = json.loads(path.read_text(), parse_constant=_finite, parse_float=_finite)
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not {what}: {error}") from None
    said = document.get("schema") if isinstance(document, dict) else None
    ours: str = schema["$id"]
    if not isinstance(said, str) or not said.startswith(f"keuos-hil/{kind}/"):
        raise UsageError(f"{path} is not {what}: its schema is not keuos-hil/{kind}")
    if said != ours:
        raise UsageError(f"{path} has the schema {said!r}; this keuos-hil reads {ours}")
    fault = _fault(document, schema)
    if fault:
        raise UsageError(f"{path} is not {what} as its schema {ours} says: {fault}")
    return dict(document)


def _finite(text: str) -> float:
    """The number; Python's json takes NaN and Infinity for numbers, and makes an infinity of 1e999."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number")
    return number


def _fault(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Where the document departs from its schema, and how; "" if nowhere."""
    from jsonschema import Draft202012Validator  # a moment that a run without such files shall not pay for
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(schema).iter_errors(document))
    if error is None:
        return ""
    # The message begins with the value that is wrong, which may be the whole file; what is wrong of it stands behind.
    told = error.message if len(error.message) <= _FAULT_MOST else f"...{error.message[-_FAULT_MOST:]}"
    return f"{error.json_path.removeprefix('$').lstrip('.') or 'the file'}: {told}"


def read_results(path: Path) -> dict[str, Any]:
    """A results.json, named itself or by its run's folder. Raises UsageError as :func:`read` does."""
    return read(path / "results.json" if path.is_dir() else path, "results", "the results.json of a run")


def read_samples(folder: Path) -> dict[str, NDArray[Any]]:
    """The raw samples beside a results.json by their keys; none if there is no such file.

    Raises:
        UsageError: it can't be read, or holds something else than numbers in a row.
    """
    path = folder / _SAMPLES_FILE
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            samples = dict(arrays.items())
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"the samples {path} can't be read: {error}") from None
    for key, array in samples.items():
        if array.ndim != 1 or array.dtype.kind not in "iuf":
            raise UsageError(f"the samples {path} can't be read: {key} is no row of numbers")
    return samples


def replace(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file whole, or not at all: beside it, and renamed when it is complete.

    What is no plain file (/dev/stdout, a pipe) is written to as it is; a link's target is replaced, not the link.

    Raises:
        OSError: it can't be written; then the file that was there is as it was.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as sink:
            write(sink)
        return
    path = path.resolve()
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as sink:
            write(sink)
        if path.exists():
            shutil.copymode(path, partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def replace_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, as :func:`replace` does. Raises OSError."""
    replace(path, lambda sink: sink.write(text.encode()))
