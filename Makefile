# ROS 2 and this package without a ROS installation: everything lives in .venv, build and install.
#   make install   environment, packages, messages built      make demo [IMAGES=folder]
#   make build     the colcon build alone                     make soak [SOAK_SECONDS=60]
#   make test      all tests on the built package, two files at a time [TEST_WORKERS=2]
#   make lint
#   make clean     (clean-all: .venv too)                     make bench [BENCH=full]
# With ROS from apt, use colcon directly: docs/installing.md.

SHELL := bash
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

VENV := $(CURDIR)/.venv
STAMPS := $(VENV)/.stamps
OVERLAY := scripts/run_in_overlay
REQUIREMENTS := requirements.txt $(wildcard scripts/requirements/*.txt)
# The pyenv launchers exist for every version and fail for most, hence the trial run.
PYTHON ?= $(shell for python in python3 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
	2>/dev/null && echo $$python && break; done)
TEST_ARGS ?=
TEST_WORKERS ?= 2
DEMO_ARGS ?=
BENCH ?=
BENCH_ARGS ?=
SOAK_SECONDS ?= 600
SOAK_ARGS ?=

# Tests and demo must neither see nor disturb a robot on the same network.
export ROS_AUTOMATIC_DISCOVERY_RANGE ?= LOCALHOST

.PHONY: install build test demo soak bench lint clean clean-all constraints check-tools FORCE

install: build
	@echo "== ready; run things as: $(OVERLAY) COMMAND"

# The compilers build the messages and pydensecrf2.
check-tools:
	@for tool in "$${CC:-cc}" "$${CXX:-c++}" cmake; do command -v "$$tool" >/dev/null \
		|| { echo "missing: $$tool (Debian: build-essential and cmake)" >&2; exit 1; }; done

$(VENV)/bin/python:
	@[[ -n "$(PYTHON)" ]] \
		|| { echo "missing: python3, version 3.11 or 3.12 (or: make PYTHON=path)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "missing: the venv module of $(PYTHON) (Debian: python3-venv)" >&2; exit 1; }
	@$(PYTHON) -c 'import sysconfig as s; open(s.get_path("include") + "/Python.h")' 2>/dev/null \
		|| { echo "missing: Python.h of $(PYTHON) (Debian: python3-dev)" >&2; exit 1; }
	@echo "== creating .venv with $(PYTHON)"
	$(PYTHON) -m venv $(VENV)

$(STAMPS)/packages: constraints.txt $(REQUIREMENTS) | check-tools $(VENV)/bin/python
	@echo "== installing the pinned packages into .venv (about 5 GB, some minutes the first time)"
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt \
		$(REQUIREMENTS:%=--requirement %)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/relocated: $(STAMPS)/packages scripts/relocate_ros_wheels.py
	@echo "== pointing the CMake files of the ROS wheels to .venv"
	$(VENV)/bin/python scripts/relocate_ros_wheels.py
	@touch $@

# Symlinks make edits of Python files effective at once; only added or removed files need a build.
build/.files: FORCE
	@mkdir -p build && find sclip_seg_ros launch config scripts test -type f \
		-not -path '*/__pycache__/*' | LC_ALL=C sort > $@.new
	@cmp --silent $@ $@.new || cp $@.new $@
	@rm $@.new

build/.built: $(STAMPS)/relocated build/.files package.xml CMakeLists.txt $(wildcard msg/*.msg)
	@echo "== building the package with colcon"
	env -u PYTHONPATH -u COLCON_PREFIX_PATH -u _ROS_WHEELS_BOOTSTRAP_COMPLETE \
		VIRTUAL_ENV=$(VENV) PATH="$(VENV)/bin:$$PATH" \
		AMENT_PREFIX_PATH=$(VENV) CMAKE_PREFIX_PATH=$(VENV) \
		colcon build --paths . --symlink-install --event-handlers console_stderr+ \
		--cmake-args -DPython3_EXECUTABLE=$(VENV)/bin/python -DCMAKE_BUILD_TYPE=Release
	@find install -xtype l -delete  # links to modules that were removed or renamed
	@touch $@

build: build/.built

test: build
	@echo "== testing"
	$(OVERLAY) python -m pytest --timeout=300 --numprocesses=$(TEST_WORKERS) --dist=loadfile \
		--no-loadscope-reorder $(TEST_ARGS)

demo: build
	@echo "== demo"
	$(OVERLAY) python -m sclip_seg_ros.tools.demo $(if $(IMAGES),--images "$(IMAGES)") $(DEMO_ARGS)

soak: build
	@echo "== soak"
	$(OVERLAY) python -m sclip_seg_ros.tools.soak --seconds $(SOAK_SECONDS) $(SOAK_ARGS)

bench: build
	@echo "== bench"
	$(OVERLAY) python -m benchmarks $(if $(filter full,$(BENCH)),--full) $(BENCH_ARGS)

lint: $(STAMPS)/packages
	@echo "== linting"
	$(VENV)/bin/ruff check . scripts/segment_node scripts/show_state scripts/sclip-*

constraints: $(STAMPS)/packages
	@echo "== writing the versions found in .venv to constraints.txt"
	$(VENV)/bin/python scripts/write_constraints.py > constraints.txt.new
	@mv constraints.txt.new constraints.txt

clean:
	@echo "== removing build, install, log"
	rm -rf build install log

clean-all: clean
	@echo "== removing .venv"
	rm -rf $(VENV)
