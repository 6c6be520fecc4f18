# `make demo` and `make test` set up everything they need in .venv.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo test test-all sim lint clean

demo: $(INSTALLED)
	$(BIN)/python -m gearshift_export.demo.pictures demo-output
	$(BIN)/gearshift run demo-output/room.png --task all -o demo-output/room-tasks.png
	$(BIN)/gearshift run demo-output/photo.png --task all -o demo-output/photo-tasks.png

# The workers are the threads: a pool of its own in each would only get in the others' way.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadgroup

test: lint
	$(PYTEST) -m "not slow"

test-all: lint
	$(PYTEST)

# The accelerator's benches: on hls/rtl, or those of the whole on what Vitis HLS exported:
# make sim DUT=vitis VITIS_RTL=FOLDER
DUT ?= rtl
SIM := $(BIN)/pytest tests/hls/rtl/test_rtl_top.py
ifeq ($(DUT),rtl)
SIM := $(PYTEST) tests/hls/rtl
endif

sim: $(INSTALLED)
	DUT="$(DUT)" VITIS_RTL="$(VITIS_RTL)" $(SIM) -m "not slow"

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf .venv demo-output

# The installation compiles the native kernels, so it is done again when they change.
$(INSTALLED): pyproject.toml constraints.txt $(wildcard kernels/native/*)
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "gearshift needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt -e '.[demo,energy,fpga,gpu,peers,ray,report,serve,telemetry,test]'
	touch $@
