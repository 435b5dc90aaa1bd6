# What the layers have in common. A layer's own Makefile says in LAYER_TARGET, KEEP_SERVICES and DROP what is its own.
#
# SAM runs `make --makefile <ContentUri>/Makefile build-<LogicalId>` with ARTIFACTS_DIR in the environment. The libraries
# of one lock file are installed and trimmed once, below .build/, and copied from there.
#
# Bytecode is written with unchecked hashes: zip files and their unpacking lose file times, which makes ordinary bytecode
# invalid, and Lambda would then compile everything again at each cold start.

.SILENT:
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

layer := $(patsubst %/,%,$(dir $(abspath $(firstword $(MAKEFILE_LIST)))))
root := $(abspath $(layer)/../..)
PYTHON ?= $(firstword $(wildcard $(root)/.venv/bin/python) python3.11)
lock := $(layer)/requirements.txt
stamp := $(shell cat $(lock) $(MAKEFILE_LIST) | sha256sum | cut -c1-16)
libraries := $(root)/.build/libraries/$(notdir $(layer))-$(stamp)
compile := $(PYTHON) -m compileall -q -f --invalidation-mode unchecked-hash -s

.PHONY: build-$(LAYER_TARGET)
build-$(LAYER_TARGET): $(libraries)/.complete
	mkdir -p "$(ARTIFACTS_DIR)"
	rm -rf "$(ARTIFACTS_DIR)/python"
	cp -R $(libraries)/python "$(ARTIFACTS_DIR)/python"
	if [ -d $(layer)/paydown ]; then \
		cp -R $(layer)/paydown "$(ARTIFACTS_DIR)/python/paydown"; \
		find "$(ARTIFACTS_DIR)/python/paydown" -name __pycache__ -prune -exec rm -rf {} +; \
		$(compile) "$(ARTIFACTS_DIR)" "$(ARTIFACTS_DIR)/python/paydown"; \
	fi

# One installation at a time: SAM builds in parallel, and tests may build too.
$(libraries)/.complete:
	mkdir -p $(root)/.build/libraries
	exec 9> $(libraries).lock; flock 9; [ ! -e $@ ] || exit 0; \
	rm -rf $(libraries); \
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes \
		--platform manylinux2014_x86_64 --only-binary=:all: --python-version 3.11 --implementation cp \
		--target $(libraries)/python --requirement $(lock); \
	cd $(libraries)/python; \
	rm -rf bin $(DROP); \
	find . -type d \( -name tests -o -name test -o -name __pycache__ \) -prune -exec rm -rf {} +; \
	find . -type f \( -name '*.pyi' -o -name '*.c' -o -name '*.h' -o -name RECORD -o -name INSTALLER -o -name REQUESTED \) -delete; \
	if [ -d botocore/data ]; then \
		find botocore/data -mindepth 1 -maxdepth 1 -type d $(foreach service,$(KEEP_SERVICES),! -name $(service)) -exec rm -rf {} +; \
		find botocore/data -name 'examples-1.json*' -delete; \
	fi; \
	$(compile) $(libraries) $(libraries)/python; \
	touch $@
