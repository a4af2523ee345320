# Every target makes its own .venv when it is missing; nothing is needed but Python 3.11 to 3.13 and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo test test-all lint bench clean

demo: $(VENV)/installed
	$(BIN)/vivavoce transcribe --timestamps examples/digits.flac
	$(BIN)/vivavoce say "four one five, two two nine" --output said.wav
	$(BIN)/vivavoce transcribe said.wav

test: $(VENV)/dev
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test-all: $(VENV)/dev
	$(BIN)/python -m pytest -m ''

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/dev
	$(BIN)/vivavoce bench engine --batch 1,4,16

clean:
	rm -rf $(VENV) said.wav

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip

$(VENV)/installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --editable '.[engine]'
	touch $@

# The peers go in without their own pins: those of torch would replace it and fetch gigabytes, those of Pipecat protobuf and soxr.
$(VENV)/dev: $(VENV)/installed requirements-peers.txt
	$(BIN)/pip install --quiet --editable '.[dev]'
	$(BIN)/pip install --quiet --no-deps --requirement requirements-peers.txt
	touch $@
