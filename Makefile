# Each target does its own set-up, with tools/bootstrap, and leaves it in .tools/ and .venv/.

export PATH := $(CURDIR)/.tools/bin:$(PATH)
PYTHON := $(CURDIR)/.venv/bin/python
PYTEST := PYTHONPATH=$(CURDIR)/scripts $(PYTHON) -m pytest
# Whole programs run in the tests: more at once than there are processors only makes them late.
WORKERS ?= $(shell nproc 2>/dev/null || echo 2)

.DEFAULT_GOAL := help
.PHONY: help demo test test-long check lint bench clean

help: ## List the targets.
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | awk -F'|' '{printf "  make %-9s %s\n", $$1, $$2}'

demo: ## Make a repository from the template and run its workflows: a push, then a pull request.
	@tools/bootstrap python go
	@tools/demo

# What needs a PostgreSQL server or a Docker engine has a target of its own.
WITH_SERVERS := $(addprefix tests/end_to_end/test_,image.py rescan.py server.py)

test: ## Run the tests, all but those of `make test-long`.
	@tools/bootstrap python go node browser
	$(PYTEST) -n $(WORKERS) --dist worksteal --durations 10 \
	  $(addprefix --ignore=,$(WITH_SERVERS)) tests/unit tests/contract tests/end_to_end

test-long: ## Run the end-to-end tests with a PostgreSQL server, or with images in a Docker engine.
	@tools/bootstrap python go node browser postgresql docker
	$(PYTEST) -n $(WORKERS) --dist loadfile --durations 10 $(WITH_SERVERS)

check: ## Run the linters, the type checker and the fast tests; under two minutes.
	@tools/bootstrap python go node
	$(PYTHON) tools/lint
	$(PYTEST) -n $(WORKERS) -m "not slow" tests/unit tests/contract

lint: ## Run the linters and the type checker.
	@tools/bootstrap python go node
	$(PYTHON) tools/lint

bench: ## Measure speed and memory, and print the ratios.
	@tools/bootstrap python go docker
	@status=0; for program in tests/benchmarks/bench_*.py; do \
	  PYTHONPATH=$(CURDIR)/scripts $(PYTHON) $$program || status=1; done; exit $$status

clean: ## Remove what these targets made, the tools they installed too.
	rm -rf .tools .venv build dist tools/node_modules .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
