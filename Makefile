# SPDX-License-Identifier: BSD-3-Clause
# Every target says what it does: `make` alone lists them. Recipes longer than a few lines are programs in tools/.
VENV  ?= .venv
VBIN  := $(abspath $(VENV))/bin
PY    := $(VBIN)/python
BUILD ?= build
JOBS  ?= $(shell nproc)
SECONDS ?= 600
ONLY  ?= _vfio _driver _device
C_FILES  = $(shell find csrc bench iavfio tests -name '*.[ch]')
SH_FILES = .ci/run $(filter-out %.py %.toml %/__pycache__,$(wildcard tools/*))
export PATH := $(VBIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo venv build test guest test-guest test-guest-live test-guest-full judge test-judge test-live test-fleet test-nth test-device bench bench-bounds bench-handlers bench-loopback
.PHONY: bench-neighbour bench-python bench-startup bench-testpmd soak asan tsan fuzz harness nightly mutants wheel wheels test-wheels test-image man docs check-aarch64 check-neon lint promises format clean

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build  ## two VFs of a software PF exchange verified 64-byte packets for 3 s; ends with the table and their libie stats
	@iavfio bench softvf softvf --mode loopback --size 64 --queues 2 --duration 3 --verify

venv: $(VENV)/.installed  ## make .venv with everything that build, tests and lint need
$(VENV)/.installed: pyproject.toml
	@tools/make_venv $(VENV)

build: venv  ## compile the C rooms into build/ and put the extensions in place
	@tools/make_launcher $(VENV) && tools/build_extensions $(BUILD) $(JOBS) $(ONLY)

test: build  ## run the tests that need no root, no guest and no card
	@$(PY) -m pytest -n $(JOBS) -q $(TESTFLAGS)

judge: venv  ## build the judges, once: PF drivers of Linux as ordinary processes (7 minutes of CPU for each i40e, 11 for ice; JUDGE=i40e-6.12)
	@$(PY) -m iavfio.linuxpf.build $(JUDGE) || [ $$? = 77 ]

test-judge: build judge  ## Linux's own i40e and ice judge the driver and the software PF; skips where its source cannot be had
	@$(PY) -m pytest tests/judge -n 0 -q -s $(TESTFLAGS)

LIVE = tests/port tests/datapath tests/stats
test-live: build judge  ## the driver's tests with Linux's own i40e or ice as the PF: JUDGE=i40e-6.12, JUDGE=ice-6.12
	@IAVFIO_TEST_PF=linux-$(or $(JUDGE),i40e) $(PY) -m pytest $(LIVE) -n $(JOBS) -q -r f $(TESTFLAGS)

guest: venv  ## build the guest lab, once, as root: root tree and small kernel (about 15 minutes)
	@$(PY) -m tests.guest.lab build || [ $$? = 77 ]

test-guest: build guest  ## judges in guests: Linux iavf, DPDK, the kernel's VFIO; skips where the lab cannot be built
	@$(PY) -m pytest tests/guest -m 'not full' -n 0 -q $(TESTFLAGS)

test-guest-live: build guest judge  ## Linux iavf and DPDK, in guests and natively, with Linux's own i40e or ice as the PF: JUDGE=i40e-6.12, JUDGE=ice-6.12
	@IAVFIO_TEST_PF=linux-$(or $(JUDGE),i40e) $(PY) -m pytest tests/guest/test_iavf.py tests/guest/test_dpdk.py tests/preload/test_dpdk.py \
	  -m 'not full' -n 0 -q $(TESTFLAGS)

test-guest-full: build guest  ## the same on every kernel, card and way into VFIO (about an hour)
	@$(PY) -m pytest tests/guest -n 0 -q $(TESTFLAGS)

test-fleet: build $(VENV)/.fleet  ## as root: fleets on dask, with hosts in network namespaces
	@$(PY) -m pytest tests/cluster -n 0 -q $(TESTFLAGS)
$(VENV)/.fleet: pyproject.toml | $(VENV)/.installed
	@tools/add_group $(VENV) fleet

test-nth: build  ## each call of the system and of memory fails once, in the port, the software PF, preload, capture and punt (about 20 minutes)
	@$(PY) -m pytest tests/nth -n $(JOBS) -q $(TESTFLAGS)

test-device: build  ## run the tests that need a card: IAVFIO_BDF=0000:3b:01.0[,0000:3b:01.1] make test-device
	@$(PY) -m pytest -q tests/device $(TESTFLAGS)

# DPDK takes part where libdpdk-dev is installed: its headers come from its source package, which apt fetches.
bench: build  ## cycles a packet of the driver on rings in plain memory, beside DPDK's: BENCHFLAGS=--full for all of it
	@$(PY) -m bench.ring --build $(BUILD) $(BENCHFLAGS)

bench-bounds: build  ## how long each call takes with a silent PF, a silent server, a slow one: a table, exit status 1 for a broken bound
	@$(PY) -m bench.bounds $(BENCHFLAGS)

bench-handlers: build  ## packet handlers compiled from Python against C ones, in cycles a packet
	@ninja -C $(BUILD) --quiet bench/libhandlers.so && $(PY) -m bench.handlers $(BUILD)/bench/libhandlers.so $(BENCHFLAGS)

bench-loopback: build  ## the software VF end to end against a plain copy loop, in interleaved rounds
	@ninja -C $(BUILD) --quiet bench/floor && $(PY) -m bench.end_to_end $(BUILD)/bench/floor $(BENCHFLAGS)

bench-neighbour: build  ## how long a VF waits while the client of another one storms: a table, histograms, exit status 1 for a broken promise
	@$(PY) -m tests.hostile.neighbour $(BENCHFLAGS)

bench-python: build  ## bursts in Python: over the C calls, filters by columns, a loop beside the C worker
	@$(PY) -m bench.bursts $(BENCHFLAGS)

bench-startup: build  ## time to the first packet, idle processor time, memory, reading the counters
	@$(PY) -m bench.startup $(BENCHFLAGS)

bench-testpmd: build  ## forwarding beside DPDK's testpmd on the same software VF, in interleaved slices
	@$(PY) -m bench.testpmd $(BENCHFLAGS)

soak: build  ## SECONDS=600 of verified traffic under resets, reconfiguration, killed drivers and hostile neighbours; a report in JSON; SEED=1
	@$(PY) -m bench.soak --seconds $(SECONDS) --seed $(or $(SEED),1) --report build/soak.json

asan: venv  ## run the tests with address and undefined-behaviour sanitizers in all C
	@tools/sanitized address $(JOBS) $(TESTFLAGS)

tsan: venv  ## run the tests in which threads meet with the thread sanitizer in all C
	@tools/sanitized thread $(JOBS) $(TESTFLAGS)

harness: venv  ## run the C harnesses: leak check with ASan+UBSan, then TSan
	@tools/harness $(JOBS)

fuzz: build $(VENV)/.fuzz  ## fuzz what reads a PF, a device, a peer, a file or a user for SECONDS=600 in all, or EACH=20; FUZZFLAGS="--only mailbox"
	@tools/fuzz $(SECONDS) $(JOBS) --lanes 2 $(if $(EACH),--each $(EACH)) $(FUZZFLAGS)
$(VENV)/.fuzz: pyproject.toml | $(VENV)/.installed
	@tools/add_group $(VENV) fuzz || { echo "without atheris: not guided by coverage"; touch $@; }

nightly: ## what takes too long for .ci/run: all tests under ASan, threads under TSan, failing calls, all judges, all guests, the drivers' tests on Linux's ice, a minute of each fuzz target, an hour of soak
	@$(MAKE) asan
	@$(MAKE) tsan
	@$(MAKE) test-nth
	@$(MAKE) test-judge
	@$(MAKE) test-guest
	@$(MAKE) test-live JUDGE=ice-6.12
	@$(MAKE) test-guest-live JUDGE=ice-6.12
	@$(MAKE) fuzz EACH=60
	@$(MAKE) soak SECONDS=3600

mutants: build  ## put each defect of tests/mutants in, see that its tests fail, write docs/spec/mutants.md (MUTANTFLAGS="--area pyvfio")
	@tools/mutants --lanes $(JOBS) --page $(MUTANTFLAGS)

wheel: venv  ## build the wheel into dist/, install it into a new venv and try it from another directory
	@tools/wheel

wheels: $(VENV)/.wheels  ## wheels for other systems into dist/: glibc 2.28 and newer, x86-64 and 64-bit ARM; MACHINE=aarch64 for one
	@$(PY) tools/manylinux.py $(MACHINE)
$(VENV)/.wheels: pyproject.toml | $(VENV)/.installed
	@tools/add_group $(VENV) wheels

test-wheels: wheels  ## try them with Python 3.13 and 3.14, with Debian 11's glibc and on emulated ARM, as root; SYSTEM=arm for one
	@$(PY) -m tests.wheel.foreign $(SYSTEM) || [ $$? = 77 ]

test-image: venv  ## build deploy/Dockerfile by buildah on Debian's packages, as root, and run it as its user with a read-only root
	@$(PY) -m tests.wheel.image || [ $$? = 77 ]

man: build  ## manual pages of all commands, made of their help, in build-docs/man/man1
	@$(PY) tools/man_pages.py build-docs/man/man1

docs: build $(VENV)/.docs  ## the site into build-docs/html, with API pages from docstrings; a warning is an error
	@rm -rf docs/api && sphinx-build -q -W --keep-going docs build-docs/html && echo "the site is in build-docs/html"
$(VENV)/.docs: pyproject.toml | $(VENV)/.installed
	@tools/add_group $(VENV) docs

check-aarch64:  ## check the syntax of all C for 64-bit ARM
	@tools/aarch64 syntax

check-neon:  ## build the driver for 64-bit ARM and run its harnesses under qemu-user
	@tools/aarch64 emulate

lint: venv  ## ruff, mypy --strict, codespell, shellcheck, clang-format, layers of iavfio/ and csrc/
	ruff check . && ruff format --check .
	mypy
	codespell
	shellcheck $(SH_FILES)
	clang-format --dry-run --Werror $(C_FILES)
	lint-imports --no-logo --no-cache
	$(PY) tools/c_layers.py --quiet

promises: venv  ## make docs/spec/coverage.md anew: which test shows each promise
	@$(PY) tools/promises.py

format: venv  ## format Python and C in place
	ruff check --fix-only -q . ; ruff format -q .
	clang-format -i $(C_FILES)

clean:  ## remove what build and venv made
	rm -rf build build-* dist docs/api $(VENV) iavfio/*.so iavfio/*/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
