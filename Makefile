# `make run` and `make test` set themselves up on a machine that has python3 >= 3.11, pip and make.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help

.PHONY: help setup run test test-quick chaos lint format bench demo boards manifests up lock fresh

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# The stamp names the lock it was made from: a changed lock installs again.
.venv/run.stamp: requirements/run.txt pyproject.toml
	@scripts/setup-venv run
.venv/dev.stamp: requirements/dev.txt pyproject.toml
	@scripts/setup-venv dev

setup: .venv/run.stamp  ## .venv with locked dependencies, nothing more

run: .venv/run.stamp  ## set up and serve on 127.0.0.1:8000
	@exec $(BIN)/otel-bridge serve

# REAL=1: the rules' own waits (eight minutes). KEEP=1: stay up after the story.
# REPLICAS=3: three bridges over PostgreSQL behind Caddy, one of which is killed in the middle.
demo: .venv/run.stamp  ## the stack without Docker: traffic, an incident, its alert firing and resolving (REPLICAS=3)
	@MAKING="make demo" scripts/ensure-tools prometheus prometheus-alertmanager $(if $(REPLICAS),caddy postgresql)
	@exec $(BIN)/python -m deploy.native $(if $(REAL),--factor 1) $(if $(KEEP),--keep) $(if $(REPLICAS),--replicas $(REPLICAS))

up:  ## the stack with Docker (DOMAIN=koomtai.com for a public one, REPLICAS=3 for three bridges; writes .env)
	@scripts/make-env $(if $(REPLICAS),--replicas $(REPLICAS)) $(DOMAIN)
	@if docker compose version >/dev/null 2>&1; then exec docker compose up -d --build; else exec docker-compose up -d --build; fi

boards: .venv/dev.stamp  ## write grafana/dashboards from grafana/boards
	@$(BIN)/python -m grafana.boards

manifests: .venv/dev.stamp  ## write deploy/kubernetes from the chart in deploy/helm (needs helm, or HELM=…)
	@$(BIN)/python -m deploy.kubernetes

chaos: .venv/dev.stamp  ## break it on purpose, at length: 200 kills, minutes of outages
	@scripts/ensure-tools
	@MAKING="make chaos" scripts/ensure-tools tinyproxy-bin patroni etcd-server
	@CHAOS=long $(BIN)/python -m pytest tests/chaos

# Most tests wait for programs: more workers than processors keep both busy. WORKERS=0: one test after the other.
WORKERS ?= 3
test: lint  ## set up and run everything, real servers included
	@scripts/ensure-tools
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=20

# What most mistakes are found by: each module by itself, and one story of a served bridge.
test-quick: .venv/dev.stamp  ## a part of it, in less than a minute: tests/unit and a bridge's main job
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile tests/unit tests/e2e/test_smoke.py

lint: .venv/dev.stamp  ## ruff, mypy (strict), import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: .venv/dev.stamp
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: .venv/dev.stamp  ## measure, and write benchmarks/RESULTS.md
	@MAKING="make bench" scripts/ensure-tools curl wrk prometheus-pushgateway postgresql
	@$(BIN)/python -m benchmarks

lock:  ## remake requirements/*.txt from pyproject.toml (UPGRADE=1: the newest of everything)
	@scripts/lock $(if $(UPGRADE),--upgrade)

fresh:  ## try `make run` and `make test` in bare Debian 12, 13 and the newest (root, apt; 15 minutes each)
	@scripts/fresh $(SUITES)
