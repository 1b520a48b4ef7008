"""A failing case made as small as it gets: whole fields first, then, by hypothesis, bits and the shadow's counters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from .difference import Difference

if TYPE_CHECKING:
    from hypothesis import strategies as st

Fails = Callable[[Difference], bool]
#: Cases tried for one shrink, at most about so many.
TRIES = 400


def shrink(case: Difference, fails: Fails, *, seed: int = 0) -> Difference:
    """The smallest case found for which `fails` still says yes; `case` itself if it doesn't fail again.

    Args:
        fails: tries a case. It may be asked several hundred times.
        seed: of hypothesis's choices.
    """
    # Only now: importing it takes a second, and a run that passes needs none of it.
    from hypothesis import HealthCheck, Phase, find, settings
    from hypothesis.errors import NoSuchExample, Unsatisfiable

    if not fails(case):
        return case
    case = _without_fields(case, fails)
    try:
        smaller: Difference = find(
            _within(case),
            fails,
            random=Random(seed),
            settings=settings(
                max_examples=TRIES,
                deadline=None,
                database=None,
                phases=(Phase.generate, Phase.shrink),
                suppress_health_check=list(HealthCheck),
            ),
        )
    except (NoSuchExample, Unsatisfiable):
        return case
    return smaller


def _without_fields(case: Difference, fails: Fails) -> Difference:
    """Without any field that it fails without as well."""
    if case.tag and fails(bare := replace(case, tag="")):
        case = bare
    for name in list(case.bits):
        fewer = replace(case, bits={other: bits for other, bits in case.bits.items() if other != name})
        if fails(fewer):
            case = fewer
    return case


def _within(case: Difference) -> st.SearchStrategy[Difference]:
    """Cases that differ in no bit in which this one does not; hypothesis takes the first choices to be the simplest."""
    from hypothesis import strategies as st

    fields = st.fixed_dictionaries({name: _subset(bits) for name, bits in case.bits.items()})
    return st.builds(
        lambda head, data, bits: replace(
            case, head=head, data=data, bits={name: value for name, value in bits.items() if value}
        ),
        st.sampled_from(sorted({0, case.head})),
        st.sampled_from(sorted({0, case.data})),
        fields,
    )


def _subset(bits: int) -> st.SearchStrategy[int]:
    """One bit, some bits, or all of them; fewer are simpler."""
    from hypothesis import strategies as st

    each = [1 << at for at in range(bits.bit_length()) if bits >> at & 1]
    some = st.lists(st.sampled_from(each), min_size=1, unique=True, max_size=len(each)).map(sum)
    return st.one_of(st.sampled_from(each), some, st.just(bits))
