"""Links by interfaces of this host, in a network namespace of their own, and what `--link` says of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from keuos_hil.plugins import board_link

from keuos_hil import link_choice, registry
from keuos_hil.errors import InfraError, UsageError
from keuos_hil.hookspecs import PartContext, RunOptions

_PROGRAM = Path(__file__).with_name("host_links_program.py")


def run_program(*before: str, case: str = "") -> str:
    """Run host_links_program.py, whole or one case, as root of a network namespace; what it said."""
    assert shutil.which("unshare"), "unshare is not installed (Debian: util-linux)"
    namespace = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    done = subprocess.run(
        [*namespace, *before, sys.executable, str(_PROGRAM), *([case] if case else [])],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def told() -> dict[str, tuple[int, str]]:
    """Exit status and words of each case."""
    cases: dict[str, tuple[int, str]] = json.loads(run_program())
    return cases


@pytest.mark.parametrize(
    "case",
    [
        pytest.param("raw", id="frames-go-both-ways-over-an-interface"),
        pytest.param("held", id="frames-go-both-ways-over-an-interface-that-is-held"),
        pytest.param("tap", id="frames-go-both-ways-over-a-TAP-device-which-has-one-user"),
        pytest.param("back", id="an-interface-comes-back-and-is-up-if-it-was"),
        pytest.param("answers", id="this-host-answers-on-an-interface-unless-it-is-held"),
        pytest.param("tagged", id="a-VLAN-tag-that-was-taken-off-is-put-back"),
    ],
)
def test_a_link_over_an_interface_of_this_host_does_what_it_has_to(told: dict[str, tuple[int, str]], case: str) -> None:
    status, said = told[case]
    assert status == 0, said


@pytest.mark.parametrize(
    ("case", "command"),
    [
        ("merging", "sudo ethtool -K near gro off"),
        ("unsummed", "sudo ethtool -K INTERFACE tx off"),
        ("oversized", "sudo ethtool -K INTERFACE tso off gso off gro off lro off"),
        ("down", "sudo ip link set near up"),
        ("addressed", "sudo ip address flush dev near"),
        ("tap", "who else has it open?"),
    ],
)
def test_what_spoils_a_link_is_told_with_the_command_against_it(
    told: dict[str, tuple[int, str]], case: str, command: str
) -> None:
    status, said = told[case]
    assert status == 0, said
    assert command in said
    assert "\n" not in said.strip()


@pytest.mark.parametrize(
    ("case", "missing", "word"),
    [("may_not_raw", "net_raw", "CAP_NET_RAW"), ("may_not_hold", "net_admin", "CAP_NET_ADMIN")],
)
def test_a_capability_that_is_missing_is_one_line_that_says_how_to_grant_it(case: str, missing: str, word: str) -> None:
    less = f"-{missing}"
    said = run_program("setpriv", "--bounding-set", less, "--inh-caps", less, case=case).strip()
    assert word in said
    assert "setcap" in said
    assert "\n" not in said


def test_an_interface_is_held_without_the_right_to_make_namespaces_of_ones_own() -> None:
    less = "-sys_admin"
    if subprocess.run(["unshare", "--user", "--map-root-user", "true"], check=False).returncode:
        pytest.skip("no user namespaces on this machine")
    run_program("setpriv", "--bounding-set", less, "--inh-caps", less, case="held")


@pytest.mark.parametrize(("part", "word"), [("raw", "`ip link` lists them"), ("tap", "ip tuntap add no-such")])
def test_an_interface_that_is_not_there_is_one_clear_line(part: str, word: str) -> None:
    kinds = {kind.name: kind for kind in board_link.keuos_hil_part_types()}
    made = kinds[part].make(kinds[part].options("no-such"), PartContext("x", "arm64", "[targets.x.link]"))
    with pytest.raises(InfraError, match=r"no-such") as caught:
        made.open({})
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("tapp:tap0", "no link 'tapp'; did you mean 'tap'? valid: raw, tap, veth"),
        ("rw:eth0", "did you mean 'raw'?"),
        ("tap", "expected tap:INTERFACE"),
        ("tap:", "expected tap:INTERFACE; the name of an interface has 1 to 15"),
        ("tap:a,script=/bin/sh", "expected tap:INTERFACE"),
        ("raw:a/b", "expected raw:INTERFACE"),
        ("raw:..", "expected raw:INTERFACE"),
        ("tap:" + "x" * 16, "expected tap:INTERFACE"),
        ("veth:x", "expected veth"),
        ("", "valid: raw, tap, veth"),
    ],
)
def test_a_link_that_makes_no_sense_is_one_line(text: str, answer: str) -> None:
    with pytest.raises(UsageError) as caught:
        link_choice.parse(text)
    assert answer in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["tap:tap0", "raw:enp3s0", "veth", "raw:eth0.7"])
def test_a_link_is_what_was_said(text: str) -> None:
    assert str(link_choice.parse(text)) == text


@pytest.mark.parametrize(
    ("target", "text", "answer"),
    [
        ("netd", "veth", "it has but its own wire"),
        ("linux", "tap:tap0", "it can be reached by veth"),
        ("qemu-x86", "veth", "it can be reached by tap:INTERFACE, raw:INTERFACE"),
    ],
)
def test_a_target_refuses_a_link_that_it_can_not_have(target: str, text: str, answer: str) -> None:
    types = registry.target_types(registry.load_plugins())
    with pytest.raises(UsageError, match=answer) as caught:
        registry.Registry(types).make(target, RunOptions(link=link_choice.parse(text)))
    assert "\n" not in str(caught.value)
