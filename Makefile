# Every target sets itself up: a private environment in .venv, nothing outside but Debian packages where permitted.
PYTHON_IN_VENV := .venv/bin/python
ARGS ?=
# Tests share nothing but the machine: each has its own directories, ports and processes. A file's tests stay together.
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test lint format man deb bench bench-full fuzz crash proof soak clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

demo: ## a folder goes to an embedded news server and comes back elsewhere, with a crash and losses on the way
	@tests/setup/prepare.sh demo
	@$(PYTHON_IN_VENV) -m usenetsyncd.cli.usenetsyncd demo $(ARGS)

test: ## set up and run the whole test suite (ARGS="tests/wire -k seal" for a part)
	@tests/setup/prepare.sh test
	@$(PYTHON_IN_VENV) -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

lint: ## ruff, ruff format, mypy --strict, floors kept by import-linter
	@tests/setup/prepare.sh test
	@tests/setup/lint.sh

format: ## let ruff format and mend what it can
	@tests/setup/prepare.sh test
	@.venv/bin/ruff check --fix . && .venv/bin/ruff format .

man: ## man pages into build/man, from the help of the commands
	@tests/setup/prepare.sh demo
	@$(PYTHON_IN_VENV) -m usenetsyncd.cli.manual build/man

deb: ## a Debian package into build/, with an environment of its own; installed and removed in an overlay, as root
	@tests/setup/prepare.sh test
	@contrib/debian/build.sh build
	@PACKAGE=$$(ls -t build/usenetsync_*.deb | head -1) $(PYTHON_IN_VENV) -m pytest tests/systemd/test_package.py $(ARGS)

bench: ## measure the rows of the performance table (ROWS="P1 P3" for some)
	@tests/setup/prepare.sh test
	@$(PYTHON_IN_VENV) -m tests.benchmarks $(ROWS)

bench-full: ## the same with the table's own sizes and five rounds; needs an hour and 16 GB in /dev/shm
	@tests/setup/prepare.sh test
	@$(PYTHON_IN_VENV) -m tests.benchmarks --full $(ROWS)

fuzz: ## every property test with 20,000 examples instead of 100
	@tests/setup/prepare.sh test
	@HYPOTHESIS_PROFILE=fuzz $(PYTHON_IN_VENV) -m pytest -m hypothesis --timeout=0 $(ARGS)

crash: ## 300 kill -9 at random moments (CRASH_ROUNDS=5000 for more)
	@tests/setup/prepare.sh test
	@CRASH_ROUNDS=$${CRASH_ROUNDS:-300} $(PYTHON_IN_VENV) -m pytest -m crash --timeout=0 $(ARGS)

proof: ## three servers lose and spoil 20,000 articles' worth, the source is gone, and what arithmetic allows comes back
	@tests/setup/prepare.sh test
	@PROOF_SEGMENTS=$${PROOF_SEGMENTS:-20000} PROOF_KILL_EVERY_S=5 $(PYTHON_IN_VENV) -m pytest --timeout=0 tests/daemon/test_proof.py $(ARGS)

soak: ## an hour of edits and faults, with memory, open files and WAL watched
	@tests/setup/prepare.sh test
	@$(PYTHON_IN_VENV) -m pytest -m soak --timeout=0 $(ARGS)

clean: ## remove the private environment and every cache
	@rm -rf .venv .bench .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
