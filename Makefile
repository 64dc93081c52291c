# Everything a developer types. Each target sets up what it needs: there is no step before the first one.
VENV    ?= .venv
RUN      = $(VENV)/bin/python
READY    = $(VENV)/.ready
VIDEO   ?=
OUT     ?= sprite-out
OPTIONS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo serve sprite check test test-full bench clean

help:            ## list the targets
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1|/' | column -t -s '|'

setup: $(READY)  ## make the virtual environment and install what is pinned

$(READY): requirements.txt requirements-dev.txt .ci/find-python
	@python="$(PYTHON)"; [ -n "$$python" ] || python="$$(sh .ci/find-python)" || exit 1; \
	echo "Setting up $(VENV) with $$("$$python" -V) ($$python); the first time takes about a minute"; \
	"$$python" -m venv --clear $(VENV)
	$(RUN) -m pip install --disable-pip-version-check --progress-bar on -r requirements.txt -r requirements-dev.txt
	@touch $@

demo: $(READY)   ## the whole system on one video (VIDEO=path, or one made on the spot)
	@$(RUN) -m lib demo $(if $(VIDEO),"$(VIDEO)") $(OPTIONS)

serve: $(READY)  ## keep the platform running: drop videos into its folder, get sprites
	@$(RUN) -m lib serve $(OPTIONS)

sprite: $(READY) ## the engine alone: VIDEO=path-or-URL OUT=folder OPTIONS="--interval 5 ..."
	@$(RUN) -m lib sprite "$(VIDEO)" --out "$(OUT)" $(OPTIONS)

check: $(READY)  ## style, types, dead ends: what must hold before the tests are worth running
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy

test: $(READY)   ## all tests, with a seeded share of the big counts
	$(RUN) -m pytest

test-full: $(READY) ## all tests with the full counts
	$(RUN) -m pytest --full --timeout 3600

bench: $(READY)  ## speed, memory and cold start, as tables
	@$(RUN) -m tests.performance.bench $(OPTIONS)

clean:           ## remove what make made
	rm -rf $(VENV) var .pytest_cache .mypy_cache .ruff_cache
