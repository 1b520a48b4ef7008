"""Registers of a machine that stands still, by the names that a gdb server describes them by (GDB manual, G)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from keuos_hil.errors import InfraError

from .gdb_connection import GdbConnection

#: Bytes of a description that one packet asks for.
_CHUNK = 0x7FB
_REGISTER = re.compile(r'<reg name="([^"]+)"[^>]*\bregnum="(\d+)"')


class GdbRegisters:
    """Reads them.

    Args:
        document: of the target's description, the part that holds them; with numbers, as QEMU writes them.
        names: the server's names, by those that :meth:`read` gives.
    """

    def __init__(self, document: str, names: Mapping[str, str]) -> None:
        self._document = document
        self._names = names
        self._numbers: dict[str, int] = {}

    def read(self, server: str, core: int) -> dict[str, int]:
        """The registers of a core.

        It connects for that alone. QEMU stops the machine when somebody does, and leaves it so.

        Raises:
            InfraError: the server can't be reached, or does not know one of them.
        """
        connection = GdbConnection(server)
        try:
            # QEMU shows nobody registers beside the usual ones who has not asked for the target's description.
            connection.ask("qXfer:features:read:target.xml:0,7fb")
            self._numbers = self._numbers or self._describe(connection)
            if (answer := connection.ask(f"Hg{core + 1:x}")) != "OK":
                raise InfraError(f"the gdb server has no core {core}: it answered {answer!r}")
            return {name: self._value(connection, name) for name in self._names}
        finally:
            connection.close()

    def _describe(self, connection: GdbConnection) -> dict[str, int]:
        text = ""
        while True:
            answer = connection.ask(f"qXfer:features:read:{self._document}:{len(text):x},{_CHUNK:x}")
            if answer[:1] not in ("l", "m"):
                raise InfraError(f"the gdb server describes no registers in {self._document}: {answer[:20]!r}")
            text += answer[1:]
            if answer[0] == "l":
                break
        found = {name: int(number) for name, number in _REGISTER.findall(text)}
        if missing := sorted(set(self._names.values()) - found.keys()):
            raise InfraError(f"the gdb server's {self._document} has no {', '.join(missing)}")
        return {name: found[theirs] for name, theirs in self._names.items()}

    def _value(self, connection: GdbConnection, name: str) -> int:
        answer = connection.ask(f"p{self._numbers[name]:x}")
        try:
            return int.from_bytes(bytes.fromhex(answer), "little")
        except ValueError:
            raise InfraError(f"the gdb server does not tell register {name}: it answered {answer!r}") from None
