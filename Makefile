SITE ?= grocery
RUN_DATE ?=
PYTHON ?= python3
.PHONY: run test up stop clean lock lint docs compose-up
run: ; @$(PYTHON) -m jobs run --site $(SITE) $(if $(RUN_DATE),--date $(RUN_DATE))
test: ; @$(PYTHON) -m jobs test
up: ; @$(PYTHON) -m jobs up
stop: ; @$(PYTHON) -m jobs stop
clean: ; @$(PYTHON) -m jobs clean
compose-up: ; @$(PYTHON) deploy/up.py
docs: ; @.venv/bin/python -m docs.reference
lint: ; @.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy jobs
lock: ; @.venv/bin/uv pip compile --quiet --python-version 3.11 --no-emit-package nvidia-nccl-cu12 --generate-hashes --no-annotate requirements.in -o requirements.txt
