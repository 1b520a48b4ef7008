"""Gives back what another process took, when that process has ended: by itself, interrupted, or killed.

That process writes commands to this one's standard input, each an argv in JSON on a line of its own; the end of the
input is the end of the process, or its word that it has done. Then all of them run, at once. The status is 1 if one
failed.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys

_COMMAND_S = 60.0


def main() -> int:
    """Wait, and run them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever is interrupted is the other process
    commands = [json.loads(line) for line in sys.stdin]
    processes = [
        subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for argv in commands
    ]
    wrong = []
    for argv, process in zip(commands, processes, strict=True):
        try:
            said, _ = process.communicate(timeout=_COMMAND_S)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
        if process.returncode:
            wrong.append(f"{' '.join(argv)}: {said.decode('utf-8', 'replace').strip()[-500:]}")
    if wrong:  # told when all is done: perhaps nobody listens any more
        sys.stderr.write("\n".join(wrong))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
