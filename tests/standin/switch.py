"""The program that a stand-in's power part calls: `switch.py SOCKET on|off|cycle|reset`; 1 if it is refused."""

from __future__ import annotations

import socket
import sys


def main() -> int:
    """Say one word to the bench, and print what it answers if that is not "ok"."""
    path, word = sys.argv[1:]
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(30)
        end.connect(path)
        end.sendall(word.encode() + b"\n")
        answer = end.makefile().readline().strip()
    if answer != "ok":
        print(answer, file=sys.stderr)
    return answer != "ok"


if __name__ == "__main__":
    sys.exit(main())
