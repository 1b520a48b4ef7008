"""keuos_hil: boots a kernel on a target, drives it through its console, and measures it.

What lives here: the framework that every suite stands on (errors, parts, console, protocol, image, measurement,
pytest plugin). What must not: any particular target, plugin or suite. Those are found through the entry-point group
``keuos_hil`` (see :mod:`keuos_hil.hookspecs`), the built-in ones exactly as a stranger's. Suites reach all of it
through pytest fixtures only.
"""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _version

try:
    __version__ = _version("keuos-hil")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+source"
