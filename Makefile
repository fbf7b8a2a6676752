# SPDX-License-Identifier: BSD-3-Clause
# Every target says what it does: `make` alone lists them.
VENV   := .venv
PY     := $(VENV)/bin/python
BUILD  ?= build
JOBS   ?= $(shell nproc)
ONLY   ?= _vfio _driver _device
APT    := apt-get install -y --no-install-recommends git ca-certificates make gcc libc6-dev python3-dev python3-venv
STAMP  := $(VENV)/.installed
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo build test lint format typecheck venv clean

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The first python3 >= 3.11 that this user can run and that can make a venv: one in another user's home may do neither.
venv: $(STAMP)  ## make .venv with everything that build, tests and lint need
$(STAMP): pyproject.toml
	@for tool in gcc make; do command -v $$tool >/dev/null || { echo "iavfio needs $$tool. On Debian 12:\n  $(APT)"; exit 1; }; done
	@for p in python3 /usr/bin/python3 python3.13 python3.12 python3.11; do \
	  if $$p -c 'import sys, venv, ensurepip, sysconfig, os; sys.exit(sys.version_info < (3, 11) or not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' 2>/dev/null; then found=$$p; break; fi; done; \
	if [ -z "$$found" ]; then echo "iavfio needs Python 3.11 or newer with venv and headers. On Debian 12:\n  $(APT)"; exit 1; fi; \
	$$found -m venv $(VENV)
	@echo "installing Python packages into $(VENV)"
	@$(PY) -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb")); print(*p["build-system"]["requires"], *p["project"]["dependencies"], *(d for g in p["project"]["optional-dependencies"].values() for d in g), sep="\n")' | xargs $(PY) -m pip install --quiet --disable-pip-version-check
	@echo "$(CURDIR)" > $$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/iavfio.pth
	@printf '#!/bin/sh\nexec "%s" -m iavfio.cli "$$@"\n' "$(CURDIR)/$(PY)" > $(VENV)/bin/iavfio && chmod +x $(VENV)/bin/iavfio
	@touch $@

build: $(STAMP)  ## compile the C rooms into build/ and put the extensions in place
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD) $(MESONFLAGS) >$(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@rm -f $(BUILD).log
	@ninja -C $(BUILD) -j $(JOBS) --quiet $(foreach e,$(ONLY),$(e).abi3.so)
	@for e in $(ONLY); do case $$e in _vfio) d=iavfio/pyvfio;; _driver) d=iavfio;; _device) d=iavfio/softvf;; esac; \
	  cmp -s $(BUILD)/$$e.abi3.so $$d/$$e.abi3.so || { cp $(BUILD)/$$e.abi3.so $$d/.$$e.new && mv $$d/.$$e.new $$d/$$e.abi3.so; }; done

test: build  ## run the tests that need no root, no guest and no card
	@$(PY) -m pytest -n $(JOBS) -q $(TESTFLAGS)

lint: $(STAMP)  ## ruff, mypy --strict, codespell, clang-format
	ruff check . && ruff format --check .
	mypy
	codespell
	clang-format --dry-run --Werror $$(git ls-files 'csrc/*.[ch]' 'bench/*.[ch]' 'tests/*.[ch]')

format: $(STAMP)  ## format Python and C in place
	ruff check --fix-only -q . ; ruff format -q .
	clang-format -i $$(git ls-files 'csrc/*.[ch]' 'bench/*.[ch]' 'tests/*.[ch]')

clean:  ## remove what build and venv made
	rm -rf build build-* $(VENV) iavfio/*.abi3.so iavfio/*/*.abi3.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
