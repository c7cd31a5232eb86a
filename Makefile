# Two commands matter: `make demo` and `make test`. Both set up what they need, once.
# Everything goes into .venv here and into the user's cache directory (the model, pip's wheels).

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
MODEL  ?= qwen2.5-coder-0.5b

# llama-cpp-python comes as source. Left out of the build: multimodal, server, tools, examples and
# the common library, none of which the Python package loads (see the included file).
export SKBUILD_CMAKE_DEFINE ?= LLAVA_BUILD=OFF;LLAMA_BUILD_TOOLS=OFF;LLAMA_BUILD_EXAMPLES=OFF;LLAMA_BUILD_TESTS=OFF;LLAMA_BUILD_SERVER=OFF;LLAMA_BUILD_APP=OFF;CMAKE_PROJECT_llama.cpp_INCLUDE=$(CURDIR)/scripts/llama-core-only.cmake

.PHONY: help setup demo test test-vllm test-sglang check lint types contracts docs bench clean
.DEFAULT_GOAL := help

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.llamacpp  ## Virtual environment with the embedded engine

demo: $(VENV)/.llamacpp  ## An agent finds GPU offers with a local model
	@$(BIN)/ling-agent models pull $(MODEL)
	@$(BIN)/python -m examples.marketplace_search --model $(MODEL)

test: $(VENV)/.evals  ## All tests, those on the real model too
	@$(BIN)/ling-agent models pull $(MODEL)
	@$(BIN)/ling-agent models pull smollm2-135m
	@$(BIN)/python -m scripts.browser >/dev/null || true # without it, tests of web pages are skipped
	@$(BIN)/python -m pytest $(ARGS)

test-vllm: $(VENV)/.dev  ## Tests on a real vLLM server, on the CPU
	@$(BIN)/python -m scripts.servers.install vllm
	@$(BIN)/python -m pytest tests/servers --server vllm $(ARGS)

test-sglang: $(VENV)/.dev  ## Tests on a real SGLang server, on the CPU
	@$(BIN)/python -m scripts.servers.install sglang
	@$(BIN)/python -m pytest tests/servers --server sglang $(ARGS)

check: lint types contracts docs test  ## What CI runs

lint: $(VENV)/.dev  ## ruff: style and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.evals  ## pyright, strict
	@$(BIN)/pyright

contracts: $(VENV)/.dev  ## import-linter: dependencies point one way
	@$(BIN)/lint-imports

docs: $(VENV)/.dev  ## Build the documentation
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/.dev  ## The benchmarks that the documentation quotes
	@$(BIN)/python -m benchmarks.import_time
	@$(BIN)/python -m benchmarks.parser
	@$(BIN)/python -m benchmarks.marketplace
	@$(BIN)/python -m benchmarks.step_overhead
	@$(BIN)/python -m benchmarks.first_tool
	@$(BIN)/python -m benchmarks.serve
	@$(BIN)/python -m benchmarks.engine
	@$(BIN)/python -m benchmarks.memory

clean:  ## Remove the virtual environment and build output (models stay in the cache)
	rm -rf $(VENV) site .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/.python:
	@sh scripts/preflight.sh "$(PYTHON)"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.core: pyproject.toml $(VENV)/.python
	@echo "Installing ling-agent into $(VENV) ..."
	@$(PIP) install --quiet --editable '.[hub,clore]'
	@touch $@

$(VENV)/.llamacpp: $(VENV)/.core
	@$(BIN)/python -c 'import llama_cpp' 2>/dev/null || \
		echo "Building llama.cpp: about 2 minutes on 2 cores, once (later installs use pip's cache) ..."
	@$(PIP) install --quiet --editable '.[llamacpp]'
	@touch $@

$(VENV)/.dev: $(VENV)/.llamacpp
	@echo "Installing the development tools ..."
	@$(PIP) install --quiet --editable '.[dev]'
	@touch $@

# The benchmarks of `ling-agent eval`, without the hundreds of packages that theirs ask for.
$(VENV)/.evals: scripts/evals/requirements.txt $(VENV)/.dev
	@echo "Installing the benchmarks of ling-agent eval ..."
	@$(PIP) install --quiet --no-deps --requirement scripts/evals/requirements.txt
	@touch $@
