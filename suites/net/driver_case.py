"""What tests/arm64/test_commands.py runs on a machine that traces the commands of SMMU and ITS; nobody else does."""

from __future__ import annotations

import pytest

from keuos_hil.agent import Agent

from .programs import Rogue

pytestmark = pytest.mark.needs("agent", "channels", "iommu")

IOVA = 0x5_0000_0000


def test_a_driver_comes_shows_a_page_and_goes(agent: Agent) -> None:
    """With one page shown to the NIC, and taken back."""
    rogue = Rogue(agent)
    rogue.open()
    rogue.new_page(IOVA)
    rogue.good("dma_unmap", rogue.capability, IOVA)
    rogue.good("device_control", rogue.capability, agent.image.constant("KEUOS_DEVICE_RELEASE"), 0)
