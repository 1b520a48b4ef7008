"""The oracle against what can be known without it: published test vectors, and the layouts of the image."""

from __future__ import annotations

import pytest

from keuos_hil.image import Image

from . import oracle

#: SipHash-2-4 of 0, 1, .. n-1 bytes counting up from 0, key 00 01 .. 0f: the reference implementation's vectors.
VECTORS = {
    0: 0x726FDB47DD0E0E31,
    1: 0x74F839C593DC67FD,
    8: 0x93F5F5799A932462,
    15: 0xA129CA6149BE45E5,
}


@pytest.mark.parametrize("length", VECTORS)
def test_tag_is_siphash_2_4(length: int) -> None:
    assert oracle.tag(bytes(range(16)), bytes(range(length))) == VECTORS[length]


@pytest.mark.needs("channels")
def test_oracle_knows_the_layout_of_the_image(image: Image) -> None:
    assert image.struct("keuos_descriptor").itemsize == 64
    assert image.constant("KEUOS_SLOTS") == oracle.SLOTS
    assert image.constant("KEUOS_DATA_ALIGNMENT") == oracle.LINE
    assert image.constant("KEUOS_TEMPLATES_MAX") == oracle.TEMPLATES_MAX
    assert image.constant("KEUOS_LENGTH_DESCRIPTOR") == oracle.MARK_DESCRIPTOR
    descriptor = oracle.Descriptor(1, oracle.Sealed(2, 3, 4, 5, 6, 7, 8, 9), 10, 11, (12, 13))
    names = image.struct("keuos_descriptor").names
    assert names == ("word", "sealed", "offset", "length", "cookie")
    assert oracle.Descriptor.parse(bytes(descriptor)) == descriptor
