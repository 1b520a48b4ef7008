"""Tests of kernel/arch/arm64's parts that run on a host: the device tree's readers, and the random generator."""
