"""Progress is for a person's terminal only."""

from __future__ import annotations

import io
import os
import pty
import sys

import pytest

from keuos_hil.progress import Progress, own_terminal


def _has_terminals() -> bool:
    try:
        for end in pty.openpty():
            os.close(end)
    except OSError:
        return False
    return True


needs_terminal = pytest.mark.skipif(not _has_terminals(), reason="needs pseudo-terminals: mount devpts on /dev/pts")


@pytest.fixture(autouse=True)
def no_dumb_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")


def test_a_bar_counts_on_a_terminal_and_is_gone_afterwards():
    screen, lines = io.StringIO(), []
    with Progress(screen, lambda: lines.append("newline"))("fuzzing", 10) as advance:
        advance(4)
        advance(6)
    assert lines == ["newline"]
    assert "fuzzing" in screen.getvalue()
    assert "10/10" in screen.getvalue()


def test_without_a_terminal_nothing_is_written(capfd):
    with Progress(None)("fuzzing", 10) as advance:
        advance(10)
    assert capfd.readouterr() == ("", "")
    assert own_terminal() is None


@needs_terminal
def test_the_bar_reaches_the_terminal_from_within_a_test(pytester):
    source = pytester.makepyfile(
        "def test_x(progress):\n    with progress('counting sheep', 3) as advance: advance(3)\n"
    )
    pid, screen = pty.fork()
    if not pid:
        os.chdir(pytester.path)
        os.execv(sys.executable, [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(source)])
    seen = b""
    try:
        while data := os.read(screen, 4096):
            seen += data
    except OSError:  # how a terminal's end shows on Linux
        pass
    finally:
        os.close(screen)
        assert os.waitpid(pid, 0)[1] == 0
    assert b"counting sheep" in seen
    assert b"3/3" in seen


HELD = [
    ("def test_x(console):\n    console.expect('tiny')\n    assert 1 == 2\n", b"gdb -ex 'target remote /tmp/"),
    (
        "import pytest\nfrom keuos_hil.errors import Silent\n@pytest.fixture\ndef hangs(console):\n"
        "    raise Silent('for ever')\ndef test_x(hangs): pass\n",
        b"gdb -ex 'target remote /tmp/",
    ),
    (
        "import os\ndef test_x(target):\n    os.kill(target.session.pid, 9)\n    target.console.line_ended(30)\n"
        "    assert 1 == 2\n",
        b"let gdb in:  not possible: ",
    ),
]


@needs_terminal
@pytest.mark.parametrize(("text", "door"), HELD, ids=["in_the_call", "in_the_set_up", "without_an_emulator"])
def test_hold_keeps_the_target_until_enter_and_says_how_to_attach(pytester, tiny_elf, text, door):
    source = pytester.makepyfile(text)
    pid, screen = pty.fork()
    if not pid:
        os.chdir(pytester.path)
        arguments = ["-p", "no:cacheprovider", "--hold", f"--kernel={tiny_elf('spin')}", str(source)]
        os.execv(sys.executable, [sys.executable, "-m", "pytest", *arguments])
    seen, entered = b"", False
    try:
        while data := os.read(screen, 4096):
            seen += data
            if not entered and b"Enter lets it go" in seen:
                os.write(screen, b"\n")
                entered = True
    except OSError:
        pass
    finally:
        os.close(screen)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 1
    assert entered
    assert door in seen
    assert b"spin.elf" in seen
