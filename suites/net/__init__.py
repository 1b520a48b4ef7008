"""The network: a NIC's driver, the gate around its DMA, the wire.

What lives here: cases that need a NIC on the target. How TCP behaves is suites/tcp's.
"""
