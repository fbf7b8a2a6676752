# SPDX-License-Identifier: BSD-3-Clause
# Every target says what it does: `make` alone lists them.
VENV   ?= .venv
VBIN   := $(abspath $(VENV))/bin
PY     := $(VBIN)/python
BUILD  ?= build
JOBS   ?= $(shell nproc)
ONLY   ?= _vfio _driver _device
SHIM   := csrc/preload/libiavfio_preload.so
APT    := apt-get install -y --no-install-recommends git ca-certificates make gcc libc6-dev python3-dev python3-venv
STAMP  := $(VENV)/.installed
C_FILES = $(shell find csrc bench tests -name '*.[ch]' 2>/dev/null)
CROSS  ?= aarch64-linux-gnu-gcc
SYNTAX := -std=gnu11 -Wall -Wextra -Wshadow -Wconversion -Wvla -Wmissing-prototypes -Werror -D_GNU_SOURCE -Icsrc -fsyntax-only
export PATH := $(VBIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo build bench bench-handlers bench-loopback bench-python bench-startup bench-testpmd test guest test-guest test-guest-full test-device asan harness wheel check-aarch64 check-neon lint format venv clean

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build  ## two VFs of a software PF exchange verified 64-byte packets for 3 s; ends with the table and their libie stats
	@$(VBIN)/iavfio bench softvf softvf --mode loopback --size 64 --queues 2 --duration 3 --verify

# The first python3 >= 3.11 that this user can run and that can make a venv: one in another user's home may do neither.
venv: $(STAMP)  ## make .venv with everything that build, tests and lint need
$(STAMP): pyproject.toml
	@if [ -d $(VENV) ] && [ ! -w $(VENV) ]; then echo "$(VENV) is older than pyproject.toml and belongs to another user: let them run 'make venv', or use VENV=another/path"; exit 1; fi
	@for tool in gcc make; do command -v $$tool >/dev/null || { echo "iavfio needs $$tool. On Debian 12:\n  $(APT)"; exit 1; }; done
	@for p in python3 /usr/bin/python3 python3.13 python3.12 python3.11; do \
	  if $$p -c 'import sys, venv, ensurepip, sysconfig, os; sys.exit(sys.version_info < (3, 11) or not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' 2>/dev/null; then found=$$p; break; fi; done; \
	if [ -z "$$found" ]; then echo "iavfio needs Python 3.11 or newer with venv and headers. On Debian 12:\n  $(APT)"; exit 1; fi; \
	$$found -m venv $(VENV)
	@echo "installing Python packages into $(VENV)"
	@$(PY) -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb")); print(*p["build-system"]["requires"], *p["project"]["dependencies"], *(d for n, g in p["project"]["optional-dependencies"].items() if n != "bench" for d in g), sep="\n")' | xargs $(PY) -m pip install --quiet --disable-pip-version-check
	@# -P: under sudo, modules must not come from the current directory. No root-owned caches in a user's checkout.
	@echo "$(CURDIR)" > $$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/iavfio.pth
	@printf '#!/bin/sh\n%s\nexec "%s" -P -m iavfio.cli "$$@"\n' '[ -z "$$SUDO_USER" ] || export PYTHONDONTWRITEBYTECODE=1' "$(PY)" > $(VBIN)/iavfio && chmod +x $(VBIN)/iavfio
	@touch $@

# Another user's checkout is used as it is: what its owner built is in place.
build: $(STAMP)  ## compile the C rooms into build/ and put the extensions in place
	@if [ ! -w . ] && ls iavfio/_driver.abi3.so iavfio/pyvfio/_vfio.abi3.so iavfio/softvf/_device.abi3.so >/dev/null 2>&1; then \
	  echo "this checkout belongs to another user: using the extensions that are in place"; exit 0; fi; \
	test -f $(BUILD)/build.ninja || meson setup $(BUILD) $(MESONFLAGS) >$(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }; \
	rm -f $(BUILD).log; \
	ninja -C $(BUILD) -j $(JOBS) --quiet $(foreach e,$(ONLY),$(e).abi3.so) $(SHIM) && \
	for e in $(ONLY); do case $$e in _vfio) d=iavfio/pyvfio;; _driver) d=iavfio;; _device) d=iavfio/softvf;; esac; \
	  cmp -s $(BUILD)/$$e.abi3.so $$d/$$e.abi3.so || { cp $(BUILD)/$$e.abi3.so $$d/.$$e.new && mv $$d/.$$e.new $$d/$$e.abi3.so; } || exit 1; done && \
	{ cmp -s $(BUILD)/$(SHIM) iavfio/$(notdir $(SHIM)) || { cp $(BUILD)/$(SHIM) iavfio/.shim.new && mv iavfio/.shim.new iavfio/$(notdir $(SHIM)); }; }

test: build  ## run the tests that need no root, no guest and no card
	@$(PY) -m pytest -n $(JOBS) -q $(TESTFLAGS)

guest: $(STAMP)  ## build the guest lab, once, as root: root tree and small kernel (about 15 minutes)
	@$(PY) -m tests.guest.lab build || [ $$? = 77 ]

test-guest: build guest  ## judges in guests: Linux iavf, DPDK, the kernel's VFIO; skips where the lab cannot be built
	@$(PY) -m pytest tests/guest -m 'not full' -n 0 -q $(TESTFLAGS)

test-guest-full: build guest  ## the same on every kernel, card and way into VFIO (about an hour)
	@$(PY) -m pytest tests/guest -n 0 -q $(TESTFLAGS)

test-device: build  ## run the tests that need a card: IAVFIO_BDF=0000:3b:01.0[,0000:3b:01.1] make test-device
	@$(PY) -m pytest -q tests/device $(TESTFLAGS)

# DPDK takes part where libdpdk-dev is installed: its headers come from its source package, which apt fetches.
bench: build  ## cycles a packet of the driver on rings in plain memory, beside DPDK's: BENCHFLAGS=--full for all of it
	@$(PY) -m bench.ring --build $(BUILD) $(BENCHFLAGS)

bench-handlers: build  ## packet handlers compiled from Python against C ones, in cycles a packet
	@ninja -C $(BUILD) --quiet bench/libhandlers.so && $(PY) -m bench.handlers $(BUILD)/bench/libhandlers.so $(BENCHFLAGS)

bench-loopback: build  ## the software VF end to end against a plain copy loop, in interleaved rounds
	@ninja -C $(BUILD) --quiet bench/floor && $(PY) -m bench.end_to_end $(BUILD)/bench/floor $(BENCHFLAGS)

bench-python: build  ## bursts in Python: over the C calls, filters by columns, a loop beside the C worker
	@$(PY) -m bench.bursts $(BENCHFLAGS)

bench-startup: build  ## time to the first packet, idle processor time, memory, reading the counters
	@$(PY) -m bench.startup $(BENCHFLAGS)

bench-testpmd: build  ## forwarding beside DPDK's testpmd on the same software VF, in interleaved slices
	@$(PY) -m bench.testpmd $(BENCHFLAGS)

# A copy of the package with sanitized extensions: children find it through PYTHONPATH, and make's own ones stay as they are.
# CPython itself shows leaks: those are looked for in the C harnesses.
ASAN_SETUP := -Db_sanitize=address,undefined -Db_lundef=false -Dbuildtype=debugoptimized
asan: $(STAMP)  ## run the tests with address and undefined-behaviour sanitizers in all C
	@test -f build-asan/build.ninja || meson setup build-asan $(ASAN_SETUP) >build-asan.log 2>&1 || { cat build-asan.log; exit 1; }
	@rm -rf build-asan.log build-asan/tree && mkdir build-asan/tree
	@ninja -C build-asan -j $(JOBS) --quiet
	@tar -c --exclude='*.so' --exclude=__pycache__ $(wildcard iavfio csrc bench tests docs *.toml *.md) | tar -x -C build-asan/tree
	@cp build-asan/_vfio.abi3.so build-asan/tree/iavfio/pyvfio/ && cp build-asan/_driver.abi3.so build-asan/tree/iavfio/ && cp build-asan/_device.abi3.so build-asan/tree/iavfio/softvf/
	@cd build-asan/tree && LD_PRELOAD=$$(gcc -print-file-name=libasan.so) PYTHONPATH=$$PWD PYTHONMALLOC=malloc IAVFIO_SANITIZER=1 \
	  ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	  $(PY) -m pytest -n $(JOBS) -q -p no:cacheprovider $(TESTFLAGS)

# gcc warns that TSan does not see fences (-Wtsan): harnesses synchronise by more than fences.
harness: $(STAMP)  ## run the C harnesses: leak check with ASan+UBSan, then TSan
	@for kind in address,undefined thread; do dir=build-harness-$${kind%%,*}; \
	  meson setup $$dir $$(test -f $$dir/build.ninja && echo --reconfigure) -Dharness=true -Dwerror=true -Db_sanitize=$$kind -Db_lundef=false -Dbuildtype=debugoptimized -Dc_args=-Wno-tsan >$$dir.log 2>&1 || { cat $$dir.log; exit 1; }; \
	  rm -f $$dir.log; ninja -C $$dir -j $(JOBS) --quiet || exit 1; \
	  fixed=$$(setarch $$(uname -m) -R true 2>/dev/null && echo "setarch $$(uname -m) -R"); \
	  echo "harnesses with $$kind"; \
	  ASAN_OPTIONS=detect_leaks=1:abort_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1 \
	  meson test -C $$dir --no-rebuild --print-errorlogs --quiet $${fixed:+--wrapper "$$fixed"} || exit 1; done

wheel: $(STAMP)  ## build the wheel into dist/, install it into a new venv and try it from another directory
	@set -e; work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; mkdir -p dist; \
	$(PY) -m pip wheel . --quiet --disable-pip-version-check --no-deps -w "$$work"; \
	$(PY) -m venv "$$work/venv"; \
	"$$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$$work"/iavfio-*.whl; \
	cp tests/wheel/check.py "$$work"; cd "$$work"; \
	env -u PYTHONPATH PATH="$$work/venv/bin:/usr/sbin:/usr/bin:/sbin:/bin" venv/bin/python check.py iavfio-*.whl; \
	mv iavfio-*.whl "$(CURDIR)/dist/"

check-aarch64:  ## check the syntax of all C for 64-bit ARM
	@if ! command -v $(CROSS) >/dev/null; then echo "$(CROSS) is missing (apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross)"; \
	  test -z "$$CI"; exit $$?; fi; \
	for file in $$(find csrc -name '*.c'); do $(CROSS) $(SYNTAX) $$file || exit 1; done

# Emulation shows results, not order: an x86 host keeps loads in order that ARM may not.
NEON_TESTS := isa pair metadata checksum malformed pool wait torture
check-neon:  ## build the driver for 64-bit ARM and run its harnesses under qemu-user
	@emulator=$$(command -v qemu-aarch64-static || command -v qemu-aarch64); \
	if ! command -v $(CROSS) >/dev/null || [ -z "$$emulator" ]; then \
	  echo "$(CROSS) or qemu-aarch64 is missing (apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static)"; test -z "$$CI"; exit $$?; fi; \
	mkdir -p build-neon && cd build-neon && $(CROSS) $(subst csrc,../csrc,$(filter-out -fsyntax-only,$(SYNTAX))) -O2 -fno-strict-aliasing -c $$(find ../csrc/driver -name "*.c") && \
	for name in $(NEON_TESTS); do \
	  $(CROSS) -std=gnu11 -D_GNU_SOURCE -I../csrc ../tests/c/driver_$$name.c *.o -static -pthread -o $$name && $$emulator ./$$name >$$name.log || { tail -5 $$name.log; exit 1; }; tail -1 $$name.log; done

lint: $(STAMP)  ## ruff, mypy --strict, codespell, clang-format, layers of csrc/
	ruff check . && ruff format --check .
	mypy
	codespell
	clang-format --dry-run --Werror $(C_FILES)
	$(PY) tools/c_layers.py --quiet

format: $(STAMP)  ## format Python and C in place
	ruff check --fix-only -q . ; ruff format -q .
	clang-format -i $(C_FILES)

clean:  ## remove what build and venv made
	rm -rf build build-* dist $(VENV) iavfio/*.so iavfio/*/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
