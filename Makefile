# Two commands on a fresh machine: `sudo make topology` and `sudo make test`. Both set up what is missing and say so.
# Nothing global is installed but system packages (through apt-get, where it exists); Python lives in .venv.

# A Python in root's home is for root alone; the system's own, if it will do, is for everybody.
PYTHON   ?= $(shell case "$$(python3 -c 'import sys; print(sys.base_prefix)' 2>/dev/null)" in \
              (/root/*) /usr/bin/python3 -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' \
                2>/dev/null && echo /usr/bin/python3 || echo python3 ;; \
              (*) echo python3 ;; esac)
WORKERS  ?= 2
TOPOLOGY ?= topologies/two-zones.yaml
LAB      ?=
VENV     := .venv
GWLBEMU  := $(VENV)/bin/gwlbemu
QUOTE      = '$(subst ','\'',$(1))'
WHICH     = $(if $(LAB),--lab $(call QUOTE,$(LAB)))

# What the tools remember, by user: what root's run has left must not stop another's.
CACHE    := $(shell [ -w . ] && echo "$(CURDIR)/.cache-$$(id -u)" || echo "$${XDG_CACHE_HOME:-$$HOME/.cache}/gwlbemu")
export RUFF_CACHE_DIR := $(CACHE)/ruff
export MYPY_CACHE_DIR := $(CACHE)/mypy
export HYPOTHESIS_STORAGE_DIRECTORY := $(CACHE)/hypothesis
export PYTEST_ADDOPTS := $(PYTEST_ADDOPTS) -o 'cache_dir=$(CACHE)/pytest'
export COVERAGE_FILE := $(CACHE)/coverage/data

.PHONY: help topology plan doctor inject pcap status down test test-fast coverage check format fidelity bench \
        torture setup setup-dev need-venv clean
help:
	@echo "sudo make topology   set up what is missing, then bring up $(TOPOLOGY)"
	@echo "sudo make inject     send a handful of crafted packets and tell what became of each"
	@echo "     make pcap       what just happened, packet by packet, from the capture"
	@echo "sudo make status     processes, targets, drops of the lab"
	@echo "sudo make down       remove the lab and nothing else"
	@echo "     make plan       what $(TOPOLOGY) comes to; make doctor: what is wrong with it"
	@echo "sudo make test       all tests; make test-fast: the pure ones, without root"
	@echo "sudo make coverage   all tests, and the lines that they ran (without root: the pure ones)"
	@echo "sudo make torture    an hour of kills, hostile packets, damaged files, churn; TORTURE_ARGS='--seconds 600 --seed N'"
	@echo "     make check      ruff and mypy; make format: what ruff can mend by itself"
	@echo "     make fidelity   FIDELITY.md, from the contract and the tests"
	@echo "sudo make bench      the figures of the README, side by side, as ratios"
	@echo "     make setup      the set-up alone; setup-dev: with the test tools; clean: remove it"
	@echo "LAB=NAME chooses among several labs (topology: names it), TOPOLOGY=FILE another topology, PYTEST_ARGS='...' tests"

topology: setup
	@$(GWLBEMU) up $(call QUOTE,$(TOPOLOGY)) $(WHICH)

plan: $(VENV)/.ready
	@$(GWLBEMU) plan $(call QUOTE,$(TOPOLOGY))

doctor: $(VENV)/.ready
	@$(GWLBEMU) doctor $(call QUOTE,$(TOPOLOGY))

inject: need-venv
	@$(GWLBEMU) inject --demo $(WHICH)

pcap: need-venv
	@$(GWLBEMU) inspect --last --journeys --limit 30 $(WHICH)

status: need-venv
	@$(GWLBEMU) status $(WHICH)

down: need-venv
	@$(GWLBEMU) down $(WHICH)

# Each worker is a process in a network and a mount namespace of its own; the tests of a file stay together.
# PYTEST_ARGS='-p no:xdist' runs them in one process.
PARALLEL := $(if $(findstring no:xdist,$(PYTEST_ARGS)),,-n $(WORKERS) --dist loadfile --no-loadscope-reorder)

test: setup-dev
	$(VENV)/bin/python -m pytest $(PARALLEL) $(PYTEST_ARGS)

test-fast: setup-dev
	$(VENV)/bin/python -m pytest -m "not namespace and not slow" $(PYTEST_ARGS)

# The report comes out when a test has failed, too.
coverage: setup-dev
	@rm -rf '$(CACHE)/coverage' && mkdir -p '$(CACHE)/coverage'
	@failed=0; $(VENV)/bin/coverage run -m pytest $(PARALLEL) $(PYTEST_ARGS) || failed=$$?; \
	$(VENV)/bin/coverage combine --quiet && $(VENV)/bin/coverage report && exit $$failed

torture: setup-dev
	$(VENV)/bin/python -m tests.torture $(TORTURE_ARGS)

check: $(VENV)/.ready-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(VENV)/.ready-dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

fidelity: $(VENV)/.ready-dev
	$(VENV)/bin/python -m tests.fidelity

bench: setup-dev
	@$(GWLBEMU) bench $(BENCH_ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .cache-* .mypy_cache .ruff_cache .pytest_cache .hypothesis

# ---- set-up -----------------------------------------------------------------------------------------------------------
# A command or a file that is missing -> the Debian package that brings it. clang and libbpf are for the fast path only,
# haproxy for TLS listeners and proxy protocol; its service, which Debian starts, is not wanted.
RUN_NEEDS := ip:iproute2 nft:nftables curl:curl clang:clang haproxy:haproxy \
             /usr/include/bpf/bpf_helpers.h:libbpf-dev /usr/include/linux/bpf.h:linux-libc-dev
DEV_NEEDS := $(RUN_NEEDS) tshark:tshark tcpdump:tcpdump iperf3:iperf3 ping:iputils-ping openssl:openssl ethtool:ethtool \
             bpftool:bpftool gcc:gcc dig:bind9-dnsutils nghttp:nghttp2-client wrk:wrk
APT_INSTALL := apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends

define install_missing
	@PATH="$$PATH:/usr/sbin:/sbin"; missing=; packages=; \
	for pair in $(1); do \
	  thing=$${pair%%:*}; \
	  command -v $$thing >/dev/null 2>&1 || [ -e $$thing ] || { missing="$$missing $$thing"; packages="$$packages $${pair#*:}"; }; \
	done; \
	if [ -z "$$missing" ]; then :; \
	elif ! command -v apt-get >/dev/null 2>&1; then \
	  echo "set-up: missing:$$missing. There is no apt-get here: install what Debian calls$$packages. Going on without" >&2; \
	elif [ "$$(id -u)" != 0 ]; then \
	  echo "set-up: missing:$$missing. 'sudo make $@' installs$$packages. Going on without" >&2; \
	else \
	  echo "set-up: installing with apt-get:$$packages"; \
	  { $(APT_INSTALL) $$packages >/dev/null; } || { echo "set-up: apt-get could not install$$packages" >&2; exit 1; }; \
	  case "$$packages" in (*haproxy*) systemctl disable --quiet --now haproxy 2>/dev/null || : ;; esac; \
	fi
endef

# What root installs belongs to whoever owns the tree, who can then go on without root.
define install_python
	@[ -w $(VENV)/bin ] || { \
	  echo "set-up: $(VENV) lacks $(2), and only $$(stat -c %U $(VENV)) may write to it: sudo make $(3)" >&2; exit 1; }
	@echo "set-up: installing $(2) into $(VENV)"
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -e '$(1)'
	@touch $@
	@[ "$$(id -u)" != 0 ] || chown -hR --reference=. $(VENV) *.egg-info
endef

setup: $(VENV)/.ready
	$(call install_missing,$(RUN_NEEDS))

setup-dev: $(VENV)/.ready-dev
	$(call install_missing,$(DEV_NEEDS))

need-venv:
	@[ -x $(GWLBEMU) ] || { echo "there is no $(VENV) yet: 'sudo make topology' sets up what is missing" >&2; exit 1; }

$(VENV)/bin/python:
	@[ ! -d $(VENV) ] || [ -w $(VENV) ] || { \
	  echo "set-up: the Python of $(VENV) is not for this user: sudo make clean setup-dev PYTHON=/usr/bin/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "set-up: Python 3.11 or newer is needed; PYTHON=... names another one" >&2; exit 1; }
	@if $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	  echo "set-up: installing with apt-get: python3-venv"; $(APT_INSTALL) python3-venv >/dev/null; \
	else echo "set-up: $(PYTHON) cannot make virtual environments; what Debian calls python3-venv is missing" >&2; exit 1; fi
	@echo "set-up: making the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.ready: pyproject.toml | $(VENV)/bin/python
	$(call install_python,.,gwlbemu and its libraries,setup)

$(VENV)/.ready-dev: pyproject.toml | $(VENV)/.ready
	$(call install_python,.[dev],the test tools,setup-dev)
