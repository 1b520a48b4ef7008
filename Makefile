# The one entrance: `make help` lists what there is. Each target sets up what it needs first, so that a fresh machine with
# make, git and python3 can start with any of them. The kernel is built by kernel/Makefile, packages are installed by
# .ci/setup, and everything that tests is pytest.
#
#   TARGET=NAME    the target to run the suites on; several, separated by blanks (default: qemu-x86; `make test`: both of QEMU's)
#   LINK=WIRE      what the machine of `make run-qemu` has its NIC on: user, or tap:INTERFACE (default: no NIC)
#   ARGS='...'     handed to pytest, for example ARGS='-k wrap --timebase=instructions'

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

# Everything that belongs to every push is tested on both architectures; a person who wants to see figures waits for one.
TARGET ?= $(if $(filter test,$(MAKECMDGOALS)),qemu-x86 qemu-arm64,qemu-x86)
ARGS ?=
LINK ?=

BIN := .venv/bin
IMAGES := build/kernel
# pytest rebuilds the kernel when its sources are newer, and takes this lock for it (keuos_hil/bundled.py).
KERNEL_LOCK := build/.kernel-lock
PYTEST := $(BIN)/pytest $(addprefix --target=,$(TARGET))

# Emulated targets can count instructions: there the ring suite runs once more, and holds its figures to their limits, and
# the gates are shown to take as many wherever two tags differ.
COUNTED = $(if $(filter qemu-%,$(TARGET)),$(BIN)/pytest $(addprefix --target=,$(filter qemu-%,$(TARGET))) --timebase=instructions suites/ring suites/gates/test_ticks.py)

# The emulated PC with its other NIC: the driver, and TCP through it.
OTHER_NIC = $(if $(filter qemu-x86,$(TARGET)),$(BIN)/pytest --target=qemu-x86 --qemu-nic=e1000e suites/net/test_nic.py suites/tcp/test_handshake.py)

PYTHON_SOURCES := $(wildcard conftest.py keuos_hil targets plugins suites tests kernel/tools netd/host examples)
C_SOURCES = $(shell find $(wildcard kernel netd plugins targets tests examples) -name '*.[ch]' | LC_ALL=C sort)

.PHONY: help setup linux-guest kernel run test soak native mutants conformance tcp-mutants run-qemu lint format wheel check-wheel clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | while IFS=$$'\t' read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

setup: ## install missing Debian packages and .venv; implied by all below
	@.ci/setup

linux-guest: setup ## fetch the kernel of the target linux-guest: Debian's, unpacked below build/
	@.ci/linux-guest

kernel: setup ## build both kernels, the user programs and the initrd
	@mkdir -p build
	flock --timeout 900 $(KERNEL_LOCK) $(MAKE) -C kernel

run: kernel ## run the suites on TARGET and show the ring table; on an emulator in exact instructions, too
	$(PYTEST) suites $(ARGS)
	$(COUNTED)

test: lint kernel check-wheel linux-guest ## everything that belongs to every push
	$(PYTEST) tests suites $(ARGS)
	$(COUNTED)
	$(OTHER_NIC)
	$(BIN)/pytest --target=linux suites/tcp
	$(BIN)/pytest --target=linux --link=veth suites/tcp/test_data.py suites/tcp/test_ipv4.py
	$(BIN)/pytest --target=netd suites/tcp
	$(BIN)/pytest --target=lwip suites/tcp
	$(BIN)/pytest --target=linux-guest suites/tcp -m timed

soak: kernel ## the long runs
	$(PYTEST) -m soak tests suites $(ARGS)
	$(BIN)/pytest --target=netd --netd-mtu=9000 -m soak suites/tcp
	$(BIN)/pytest --target=linux --link=veth suites/tcp

native: setup ## messages between two processes of this machine: the ring, the kernel's ways, boost's queue, and their floors
	$(BIN)/pytest --target=linux suites/ring $(ARGS)

mutants: setup ## put faults into the kernel and NetD, one at a time, and see which test notices each
	$(BIN)/python -m tests.mutants $(ARGS)

CONFORMING := netd qemu-x86 qemu-arm64 linux linux-guest lwip

conformance: kernel linux-guest ## the network suites on every stack, on Linux slow cases too, and the page that is made of the results
	$(BIN)/pytest --target=linux suites/tcp -m '(slow or not slow) and not soak'
	$(BIN)/pytest --target=netd suites/tcp
	$(BIN)/pytest --target=qemu-x86 suites/tcp
	$(BIN)/pytest --target=qemu-arm64 suites/tcp
	$(BIN)/pytest --target=linux-guest suites/tcp
	$(BIN)/pytest --target=lwip suites/tcp
	$(BIN)/python -m keuos_hil.conformance $(CONFORMING:%=build/results/%/latest/results.json) --hold=netd --hold=qemu-x86 --hold=qemu-arm64 --output docs/tcp-conformance.md --html build/tcp-conformance.html

tcp-mutants: setup ## faults done to Linux's traffic: the network suites have to notice each
	$(BIN)/pytest -m soak tests/test_tcp_mutants.py

run-qemu: kernel ## boot to the prompt on this terminal; TARGET=qemu-arm64 on an Arm board, LINK=user with a NIC
	@.ci/run-qemu $(IMAGES) $(TARGET) '$(LINK)'

lint: setup ## style and types, Python and C
	$(BIN)/ruff check $(PYTHON_SOURCES)
	$(BIN)/ruff format --check $(PYTHON_SOURCES)
	.ci/check-types
	clang-format --dry-run --Werror $(C_SOURCES)

format: setup ## bring the sources into that style
	$(BIN)/ruff check --fix-only $(PYTHON_SOURCES)
	$(BIN)/ruff format $(PYTHON_SOURCES)
	clang-format -i $(C_SOURCES)

wheel: kernel ## build the wheel and the sdist, with the kernel images inside, into build/dist
	.ci/wheel

check-wheel: wheel ## install the wheel in a fresh environment and use it from another folder
	.ci/check-wheel

clean: ## remove everything built; .venv and results stay
	@if [ -d build ]; then find build -mindepth 1 -maxdepth 1 ! -name results -exec rm -rf {} +; fi
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
