"""A sender's templates and a key, for tests of the oracle and of the fuzzer."""

from __future__ import annotations

from keuos_hil.oracle import Template

KEY = bytes(range(16))
#: The last one is in nobody's interface.
PROOFS = [Template(0x10, 0, 0, 8192, 64), Template(0x11, 0, 0, 24, 64), Template(0x12, 0, 3, 8192, 256),
          Template(0x13, 0, 0, 8192, 64)]  # fmt: skip
