# Completionist. `make serve` is all that is needed to start; `make help` lists the rest.
.DEFAULT_GOAL := help
SHELL := /bin/sh
BIN := .venv/bin
LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet

.PHONY: help serve demo test test-all check format fuzz audit bench lock clean environment-serve environment-demo environment-test test-model

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile

serve: environment-serve ## Set up, fetch the default model, serve on loopback (ARGS="--port 9000" for options)
	@exec $(BIN)/completionist serve --fetch $(ARGS)

demo: environment-demo ## Set up and serve the scripted engine at once, without any model
	@exec $(BIN)/completionist serve --scripted $(ARGS)

test: environment-test test-model ## The tests with the scripted engine and the 135M model
	@$(BIN)/python -m pytest -m "not large" -n 3 --no-loadscope-reorder --durations=10 $(ARGS)

test-all: environment-test test-model ## Everything: long loops and larger models too
	@$(BIN)/python -m pytest --durations=20 $(ARGS)

check: environment-test ## Formatting, lint, types, then the tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(MAKE) --no-print-directory test

format: environment-test ## Format the code and mend what lint can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

fuzz: environment-test test-model ## Inputs nobody thought of, for a fixed time (ARGS="--minutes 20 --requests 10000")
	@$(BIN)/python -m tests.fuzz $(ARGS)

audit: environment-test ## The locked packages: known weaknesses (needs the network), hashes, licences
	@$(BIN)/python -m pytest -q tests/deploy/test_dependencies.py
	@python3 -m venv build/audit
	@build/audit/bin/pip --disable-pip-version-check install --quiet --require-hashes --only-binary=:all: -r requirements/audit.txt
	@for lock in requirements/*.txt; do \
		build/audit/bin/pip-audit -r "$$lock" --require-hashes --disable-pip --strict $(ARGS) || \
		{ echo "audit: $$lock has known weaknesses, or nobody could be asked about them: see above" >&2; exit 1; }; done

bench: environment-test test-model ## The figures of docs/benchmarks.md, on an idle machine
	@$(BIN)/python -m bench $(ARGS)

lock: ## Resolve the locks again (ARGS=--upgrade for newer releases); needs uv
	@command -v uv >/dev/null || { echo "lock: uv is missing: pip install uv" >&2; exit 1; }
	@$(LOCK) $(ARGS) --group build pyproject.toml -o requirements/serve.txt
	@$(LOCK) $(ARGS) --all-extras --group build --group dev -c requirements/serve.txt pyproject.toml -o requirements/test.txt
	@$(LOCK) $(ARGS) --group audit -o requirements/audit.txt

clean: ## Remove the environment and the caches of the tools; models stay
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	@find src tests bench scripts -name __pycache__ -type d -prune -exec rm -rf {} +

environment-serve environment-demo environment-test: environment-%:
	@scripts/setup $*

test-model:
	@$(BIN)/completionist pull smollm2-135m-instruct
