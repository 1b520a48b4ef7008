"""Random conversations: the seed decides them, files bring them back, and what fails is made short."""

from __future__ import annotations

import random

import pytest

from keuos_hil.errors import UsageError
from keuos_hil.fuzz import Corpus
from keuos_hil.net import wire
from keuos_hil.net.random_talk import Generator, Step, Talk, shrink
from keuos_hil.net.tcp import STATES


def _talks(seed: int, count: int = 300) -> list[Talk]:
    generator = Generator(seed)
    return [generator.talk() for _ in range(count)]


def test_a_seed_decides_every_conversation() -> None:
    assert _talks(1, 100) == _talks(1, 100)
    assert _talks(1, 100) != _talks(2, 100)


def test_nobody_elses_random_numbers_change_by_it() -> None:
    random.seed(7)
    expected = random.random()
    random.seed(7)
    _talks(3, 100)
    assert random.random() == expected


def test_every_state_kind_of_step_and_spoilt_part_occurs() -> None:
    talks = _talks(4)
    steps = [step for talk in talks for step in talk.steps]
    assert {talk.state for talk in talks} == set(STATES)
    assert {step.do for step in steps} == {
        *("segment", "scapy", "send", "receive", "shutdown", "close", "wait", "fence"),
    }
    plain = Step("segment")
    for part in ("flags", "base", "seq", "ack", "window", "data", "urgent", "options", "sack", "damage"):
        assert any(getattr(step, part) != getattr(plain, part) for step in steps if step.do == "segment"), part


def test_no_segment_has_two_values_for_one_option() -> None:
    for talk in _talks(5):
        for step in talk.steps:
            if step.options not in ("right", ""):
                kinds = wire.parse_options(bytes.fromhex(step.options)).kinds
                assert kinds.count(wire.OPTION_TS) <= 1
                assert kinds.count(wire.OPTION_WSCALE) <= 1


def test_a_corpus_gives_conversations_back(tmp_path) -> None:
    corpus = Corpus(tmp_path, Talk)
    talks = _talks(6, 50)
    for talk in talks:
        corpus.save(talk, seed=6)
    assert sorted(map(repr, (kept.case for kept in corpus.cases()))) == sorted(map(repr, set(talks)))


@pytest.mark.parametrize(
    "case",
    [
        '{"state": "LISTEN"}',
        '{"state": "NOWHERE", "options": "", "steps": []}',
        '{"state": "LISTEN", "options": "", "steps": [{"do": "fence", "what": 1}]}',
    ],
)
def test_a_file_that_is_no_conversation_is_one_clear_line(tmp_path, case: str) -> None:
    (tmp_path / "bad.json").write_text(f'{{"schema": "{Talk.SCHEMA}", "case": {case}}}')
    with pytest.raises(UsageError, match=r"bad\.json is no case of keuos-hil/tcp-talk/1"):
        Corpus(tmp_path, Talk).cases()


def test_what_fails_is_made_as_short_as_it_gets() -> None:
    def fails(talk: Talk) -> bool:
        return any("R" in step.flags and step.seq > 0 for step in talk.steps)

    found = next(talk for talk in _talks(7, 3000) if fails(talk) and len(talk.steps) > 5)
    short = shrink(found, fails)
    assert len(short.steps) == 1
    assert short.options == ""
    wanted = {name: value for name, value in short.as_json()["steps"][0].items() if name not in ("flags", "seq")}
    assert wanted == {"do": "segment"}


def test_what_does_not_fail_again_is_left_as_it_is() -> None:
    talk = _talks(8, 1)[0]
    assert shrink(talk, lambda one: False) == talk
