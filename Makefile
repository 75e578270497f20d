# `make run` and `make test` set themselves up on a machine that has python3 >= 3.11, pip and make.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help

.PHONY: help setup run test lint format bench

help:  ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# The stamp names the lock it was made from: a changed lock installs again.
.venv/run.stamp: requirements/run.txt pyproject.toml
	@scripts/setup-venv run
.venv/dev.stamp: requirements/dev.txt pyproject.toml
	@scripts/setup-venv dev

setup: .venv/run.stamp  ## .venv with locked dependencies, nothing more

run: .venv/run.stamp  ## set up and serve on 127.0.0.1:8000
	@exec $(BIN)/otel-bridge serve

test: lint  ## set up and run everything, real servers included
	@scripts/ensure-tools
	@$(BIN)/python -m pytest

lint: .venv/dev.stamp  ## ruff and mypy (strict)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: .venv/dev.stamp
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: .venv/dev.stamp  ## measure, and write benchmarks/RESULTS.md
	@scripts/ensure-tools
	@$(BIN)/python -m benchmarks
