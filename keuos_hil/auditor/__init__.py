"""The page-table auditor: what a KeuOS kernel's tables permit, held against what its records say they should.

    with target.paused():
        snapshot = take(target.kernel, target.debug, architecture, programs)
    violations = audit(snapshot)

What lives here: a snapshot of one moment (:mod:`.snapshot`), which pages each process should have (:mod:`.expected`),
and the rules, each a sentence and a predicate that returns its violations in words (:mod:`.spaces`, :mod:`.frames`,
:mod:`.records`, :mod:`.devices`). All but the reading of memory is pure. The kernel is never asked and none of its code
is used: tables are walked from the registers of the cores and the roots of the processes, records are decoded by the
debug information.

What may be half done at a random moment: whoever changes an object holds the kernel lock, so records, tables and counts
agree whenever nobody holds it (:attr:`Snapshot.quiet`). Rules that compare them hold for quiet snapshots only. Those
that keep an attacker out (no page writable and executable, no kernel memory in reach ...) hold between any two
instructions, for every space that a process may run in.
"""

from __future__ import annotations

from .rules import DEVICE_RULES, RULES, Rule, Violation, audit
from .snapshot import Core, Snapshot, take

__all__ = ["DEVICE_RULES", "RULES", "Core", "Rule", "Snapshot", "Violation", "audit", "take"]
