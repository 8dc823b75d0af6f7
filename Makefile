# Two commands on a fresh machine: `sudo make topology` and `sudo make test`. Both set up what is missing and say so.
# Nothing global is installed but system packages (through apt-get, where it exists); Python lives in .venv.

PYTHON   ?= python3
WORKERS  ?= 2
TOPOLOGY ?= topologies/two-zones.yaml
VENV     := .venv
GWLBEMU  := $(VENV)/bin/gwlbemu

.PHONY: help topology inject pcap status down test test-fast check format fidelity bench setup setup-dev clean
help:
	@echo "sudo make topology   set up what is missing, then bring up $(TOPOLOGY)"
	@echo "sudo make inject     send a handful of crafted packets and tell the fate of each"
	@echo "     make pcap       what just happened, packet by packet, from the capture"
	@echo "sudo make status     processes, targets, drops of the lab"
	@echo "sudo make down       remove the lab and nothing else"
	@echo "sudo make test       all tests; make test-fast: the pure ones, without root"
	@echo "     make check      ruff and mypy"
	@echo "sudo make bench      the figures of the README, side by side, as ratios"

topology: setup
	@$(GWLBEMU) up $(TOPOLOGY)

inject:
	@$(GWLBEMU) inject --demo

pcap:
	@$(GWLBEMU) inspect --last --journeys --limit 30

status:
	@$(GWLBEMU) status

down:
	@$(GWLBEMU) down

# Each worker is a process in a network and a mount namespace of its own; the tests of a file stay together.
# PYTEST_ARGS='-p no:xdist' runs them in one process.
PARALLEL := $(if $(findstring no:xdist,$(PYTEST_ARGS)),,-n $(WORKERS) --dist loadfile --no-loadscope-reorder)

test: setup-dev
	$(VENV)/bin/python -m pytest $(PARALLEL) $(PYTEST_ARGS)

test-fast: setup-dev
	$(VENV)/bin/python -m pytest -m "not namespace and not slow" $(PYTEST_ARGS)

check: setup-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: setup-dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

fidelity: setup-dev
	$(VENV)/bin/python -m tests.fidelity

bench: setup-dev
	@$(GWLBEMU) bench $(BENCH_ARGS)

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# ---- set-up -----------------------------------------------------------------------------------------------------------
# A command that is missing -> the Debian package that brings it. clang and libbpf are for the fast path only.
RUN_COMMANDS  := ip:iproute2 nft:nftables curl:curl clang:clang
DEV_COMMANDS  := $(RUN_COMMANDS) tshark:tshark tcpdump:tcpdump iperf3:iperf3 ping:iputils-ping openssl:openssl ethtool:ethtool bpftool:bpftool gcc:gcc
RUN_FILES     := /usr/include/bpf/bpf_helpers.h:libbpf-dev /usr/include/linux/bpf.h:linux-libc-dev

define install_missing
	@PATH="$$PATH:/usr/sbin:/sbin"; missing=""; \
	for pair in $(1); do command -v $${pair%%:*} >/dev/null 2>&1 || missing="$$missing $${pair#*:}"; done; \
	for pair in $(RUN_FILES); do [ -e $${pair%%:*} ] || missing="$$missing $${pair#*:}"; done; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing python3-venv"; \
	if [ -n "$$missing" ]; then \
	  if command -v apt-get >/dev/null 2>&1 && [ "$$(id -u)" = 0 ]; then \
	    echo "set-up: installing with apt-get:$$missing"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null || exit 1; \
	  else echo "set-up: missing:$$missing (install them, or run 'sudo make' on a system with apt-get); going on without" >&2; fi; \
	fi
endef

setup: $(VENV)/.ready
	$(call install_missing,$(RUN_COMMANDS))

setup-dev: $(VENV)/.ready-dev
	$(call install_missing,$(DEV_COMMANDS))

$(VENV)/bin/python:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "set-up: installing with apt-get: python3-venv"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3-venv >/dev/null; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "set-up: Python 3.11 or newer is needed; PYTHON=... names another one" >&2; exit 1; }
	@echo "set-up: making the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.ready: pyproject.toml | $(VENV)/bin/python
	@echo "set-up: installing gwlbemu and its libraries into $(VENV)"
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.ready-dev: pyproject.toml | $(VENV)/.ready
	@echo "set-up: installing the test tools into $(VENV)"
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@
