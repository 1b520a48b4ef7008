"""Which descriptors are worth trying on a gate, and what to do with one that was judged wrongly. Budget and corpus
serve whatever else is tried at random.

Pure, but for the corpus, which is files. :mod:`.cases` makes batches by structured mutation of valid descriptors,
:mod:`.senders` what processes do with them that are killed for it,
:mod:`.matrix` counts what came of them, :mod:`.difference` says in what a case differs from the valid descriptor (so
that it means the same under another key), :mod:`.shrink` makes that as small as it gets, :mod:`.corpus` keeps it for
every later run, :mod:`.budget` says how many cases a run tries. What must not live here: rules of verdicts
(:mod:`keuos_hil.oracle`), and how cases reach a kernel (the suites).
"""

from .budget import Budget, Fuzzing
from .cases import Batch, Generator
from .corpus import Case, Corpus, Kept
from .difference import Difference, difference_of
from .matrix import FIELDS, MUTATIONS, Matrix
from .senders import Sender, carried, senders
from .shrink import shrink

__all__ = [
    "FIELDS",
    "MUTATIONS",
    "Batch",
    "Budget",
    "Case",
    "Corpus",
    "Difference",
    "Fuzzing",
    "Generator",
    "Kept",
    "Matrix",
    "Sender",
    "carried",
    "difference_of",
    "senders",
    "shrink",
]
