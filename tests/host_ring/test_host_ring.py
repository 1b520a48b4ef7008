"""The ring library (kernel/include/keuos/ring.h) compiled for the host: correctness, hostile peers, instruction count.

The C programs of this folder hold the cases; this module builds and runs them. It needs a C compiler and nothing of
the framework. It must not measure time: what a round trip costs is counted in instructions.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
INCLUDE = HERE.parents[1] / "kernel" / "include"
WARNINGS = ["-std=c17", "-Wall", "-Wextra", "-Werror", "-Wshadow", f"-I{INCLUDE}", f"-I{HERE}"]
SANITIZERS = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
#: As user programs are built: plain O2, without the libc's built-in knowledge.
TARGET_LIKE = ["-O2", "-ffreestanding", "-fno-stack-protector", "-fno-pic"]
#: A bound for a hang, many times what any program here needs.
HANG_S = 300

CASES = (
    "every_length_polled",
    "every_length_proof",
    "every_length_verified",
    "full_and_empty",
    "two_slots_need_room_for_both",
    "lazy_tail_makes_progress",
    "payload_wraps",
    "aligned_template_leaves_gaps",
    "sender_is_told_what_it_may_not_send",
    "small_buffer_consumes_nothing",
    "closing_keeps_what_was_sent",
    "fast_path_mixes_with_the_general_one",
    "cookie_travels_with_a_descriptor",
    "verified_receiver_reads_the_mailbox_only",
    "groups_of_every_size",
    "groups_fill_the_ring",
    "groups_are_refused_what_messages_are",
    "open_group_is_not_looked_up_again",
    "wrong_group",
    "wrong_sequence",
    "refused_template",
    "wrong_inline_length",
    "wrong_second_slot",
    "wrong_tag",
    "wrong_descriptor",
    "wrong_tail",
    "slots_begin_a_page",
)

INTERLEAVINGS = (
    "message_comes_before_the_flag",
    "message_comes_in_the_sleep",
    "message_and_end_come_between_two_looks",
    "room_comes_before_the_flag",
    "room_comes_in_the_sleep",
    "producer_wakes_before_it_sleeps",
    "consumer_wakes_before_it_sleeps",
)

#: Instructions of a round trip, both sides and both directions together, that must not be exceeded: (name, limit).
INSTRUCTION_LIMITS = (("56", 100), ("48-proof", 110), ("64", 140), ("64-batch", 80), ("64-verified", 350))


def compiler() -> str:
    """The C compiler: $CC, else clang, else gcc; the test is skipped where there is none."""
    for name in (os.environ.get("CC", ""), "clang", "gcc"):
        if name and shutil.which(name):
            return name
    pytest.skip("needs a C compiler: apt-get install clang")


def run(*command: str) -> str:
    """Run a program to its end and return what it printed; fails with its messages if it doesn't leave with 0."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}", pytrace=False)
    return done.stdout


def build(output: Path, sources: list[str], flags: list[str]) -> Path:
    """Compile and link sources of this folder into output."""
    run(compiler(), *WARNINGS, *flags, *(str(HERE / source) for source in sources), "-o", str(output))
    return output


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the correctness programs; those that meet garbage are built with the sanitizers."""
    folder = tmp_path_factory.mktemp("host_ring")
    build(folder / "cases", ["cases.c", "host_channel.c"], SANITIZERS)
    build(folder / "hostile", ["hostile.c", "host_channel.c"], SANITIZERS)
    # Without sanitizers: a fault handler is how the cases get between two instructions.
    build(folder / "interleavings", ["interleavings.c", "host_channel.c"], ["-O2", "-g"])
    build(folder / "stream", ["stream.c", "host_channel.c"], ["-O2", "-g"])
    return folder


@pytest.mark.parametrize(("program", "cases"), [("cases", CASES), ("interleavings", INTERLEAVINGS)])
def test_every_case_of_a_program_is_listed_here(programs: Path, program: str, cases: tuple[str, ...]) -> None:
    assert tuple(run(str(programs / program)).split()) == cases


@pytest.mark.parametrize("case", CASES)
def test_ring(programs: Path, case: str) -> None:
    run(str(programs / "cases"), case)


@pytest.mark.parametrize("case", INTERLEAVINGS)
def test_race(programs: Path, case: str) -> None:
    run(str(programs / "interleavings"), case)


@pytest.mark.parametrize("mode", ["polled", "proof"])
@pytest.mark.parametrize("waiting", ["poll", "sleep", "answer"])
def test_two_processes_lose_no_message_and_no_wake_up(programs: Path, mode: str, waiting: str) -> None:
    printed = run(str(programs / "stream"), mode, waiting, "500000", "1")
    sleeps = {line.split(":")[0]: int(line.split()[1]) for line in printed.splitlines()}
    if waiting == "sleep":
        assert sleeps["producer"] > 0, "the producer never slept on a full ring: the race was not exercised"
    if waiting != "poll":
        assert sleeps["consumer"] > 0, "the consumer never slept on an empty ring: the race was not exercised"


@pytest.mark.parametrize("liar", ["producer", "consumer"])
def test_a_hostile_peer_does_no_harm(programs: Path, liar: str) -> None:
    printed = run(str(programs / "hostile"), liar, "5000", "1")
    seen = {line.split()[0]: int(line.split()[1]) for line in printed.splitlines()}
    assert seen["groups"] > 1000, f"hardly any group of messages was nearly honest: {seen}"
    assert seen["0"] > 1000, f"the garbage was never nearly honest, so the deeper checks were not reached: {seen}"
    assert seen["-6"] > 1000, f"no violation was ever noticed: {seen}"


@pytest.fixture(scope="module")
def instructions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Instructions per round trip by kind, counted by single-stepping; the loop around is subtracted."""
    if platform.machine() != "x86_64":
        pytest.skip(f"the limits are of x86-64, this is {platform.machine()}")
    folder = tmp_path_factory.mktemp("instructions")
    measured = folder / "round_trip.o"
    run(compiler(), *WARNINGS, *TARGET_LIKE, "-c", str(HERE / "round_trip.c"), "-o", str(measured))
    program = folder / "count_instructions"
    sources = [str(HERE / name) for name in ("count_instructions.c", "host_channel.c")]
    run(compiler(), *WARNINGS, "-O2", "-no-pie", *sources, str(measured), "-o", str(program))
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=HANG_S, check=False)
    if done.returncode == 77:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return {name: int(hundredths) / 100 for name, hundredths in (line.split() for line in done.stdout.splitlines())}


def test_the_nop_loop_counts_one_instruction(instructions: dict[str, float]) -> None:
    assert instructions["nop"] == 1


@pytest.mark.parametrize(("kind", "limit"), INSTRUCTION_LIMITS)
def test_round_trip_takes_few_instructions(
    instructions: dict[str, float], kind: str, limit: int, record_property: Callable[[str, object], None]
) -> None:
    record_property("instructions", instructions[kind])
    assert 4 * 10 < instructions[kind] <= limit, (
        f"a round trip of {kind} bytes takes {instructions[kind]} instructions; at most {limit} are allowed: "
        "look at round_trip.c through objdump -d"
    )


def test_ring_implementation_stays_under_400_lines_of_code():
    """Both ends of a channel, comments and blank lines aside; sleeping and batches are built on top of it."""
    source = (INCLUDE / "keuos" / "ring.h").read_text()
    code = re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) < 400
