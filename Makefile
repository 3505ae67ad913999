# make help lists the targets. All of them set up what they need, in .venv.

PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin
READY := .venv/.installed
REQUIRED := -r requirements.txt -c constraints.txt
# tests side by side, on as many cores as there are up to 4
WORKERS := -n logical --maxprocesses 4
# where no notebook runs and nothing is drawn at random, plugins that take seconds stay away
LIGHT := -p no:nbval -p no:hypothesispytest

# or each of a hundred processes would compile all that it imports
unexport PYTHONDONTWRITEBYTECODE

# it checks the types of the page's modules
TYPESCRIPT := 5.9.3

# the full-scale runs: make record DATASET=criteo PATH=train.txt MINUTES=120
DATASET ?= synthetic
MINUTES ?= 60
ifeq ($(origin PATH),command line)
FILE := $(PATH)
override PATH := $(shell command -p getconf PATH):/usr/local/bin:/usr/local/cuda/bin
endif

.PHONY: help book test types page test-slow test-rounding serve refresh study record links address \
	clean browser node
.DEFAULT_GOAL := help

help:
	@echo "make book      run every chapter and build the book into _build/html"
	@echo "make serve     read the built book at http://localhost:$(PORT) (PORT=... for another)"
	@echo "make test      lint, unit tests, scripts, quick notebooks against their outputs, the book in a browser"
	@echo "make test-slow  the wheel, whole chapters, killed runs, Ray, damaged files, compiled code"
	@echo "make test-rounding  the tests that rounding could fail, as on two other processors"
	@echo "make refresh   run every chapter and store its outputs and records in the repository"
	@echo "make study     NAME=decide makes what is missing of a study's records; alone it lists the studies"
	@echo "make record    the paper's grid at full scale for MINUTES=60, a seed at a time; goes on from there"
	@echo "make links     ask every address outside the book whether it is still there"
	@echo "make address   REPOSITORY=https://... writes the book's public address where it is needed"
	@echo "make clean     remove what was built (_build)"
	@echo "PYTHON=python3.12 make ... picks the Python (3.11 or newer) that makes .venv"

book: $(READY)
	$(BIN)/python book/build.py

refresh: $(READY)
	$(BIN)/python book/build.py --refresh
	$(BIN)/python -m embedding_collapse.lab.studies

# make study NAME=decide OPTIONS="--ray --minutes 60"
study: $(READY)
	$(BIN)/python -m embedding_collapse study $(or $(NAME),--help) $(OPTIONS)
	$(BIN)/python -m embedding_collapse.lab.studies

links: $(READY)
	$(BIN)/python book/build.py --stored --links

address: $(READY)
	$(BIN)/python book/address.py $(REPOSITORY)

record: $(READY)
	$(BIN)/python -m embedding_collapse sweep --dataset $(DATASET) --minutes $(MINUTES) \
		--models dcnv2,dnn,finalmlp,xdeepfm,ipnn,nfwfm --scales 1,4,10,2,3 --epochs 10 --precision tf32 \
		--no-weights --output results/$(DATASET)-full $(if $(FILE),--path "$(FILE)") $(OPTIONS)

serve: $(READY)
	@test -d _build/html || { echo "there is no book yet: run make book"; exit 1; }
	$(BIN)/python -m http.server $(PORT) --bind localhost --directory _build/html

# workers have a core each, so one thread is enough; test-rounding has them take two; chapter 5,
# which trains for minutes, is held to its outputs by test-slow (tests/book/test_chapters_executed.py)
test: export OMP_NUM_THREADS := 1
test: $(READY) browser node
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(MAKE) -j 2 types page
	$(BIN)/pytest $(WORKERS) --dist loadfile --no-loadscope-reorder --nbval tests notebooks \
		-m "not slow" --ignore=tests/browser --ignore=notebooks/05_multi_embedding.ipynb
	$(BIN)/pytest tests/browser -n 2 --dist loadgroup $(LIGHT)

# what takes one core, two at a time
types: $(READY)
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

page: $(READY) node
	node --test tests/live/*.test.mjs
	npx --yes --package typescript@$(TYPESCRIPT) tsc --project tests/live
	$(BIN)/python book/build.py --stored

# the tests marked `slow`: each takes ten seconds or more, itself or with the rest of its file; those
# that rounding could fail are test-rounding's
test-slow: export OMP_NUM_THREADS := 1
test-slow: SLOW = $(shell grep -rl mark.slow tests --include 'test_*.py') notebooks
test-slow: $(READY)
	$(BIN)/pytest $(WORKERS) --dist loadfile --no-loadscope-reorder --nbval -m "slow and not rounding" $(SLOW) \
		--ignore=notebooks/05_multi_embedding.ipynb

# the tests that compare two orders of operations, under orders that other processors take; threads
# that wait for work sleep where workers share cores: spinning ones would starve the others
test-rounding: ROUNDING = $(shell grep -rl rounding tests --include 'test_*.py')
test-rounding: $(READY) browser
	MKL_ENABLE_INSTRUCTIONS=AVX2 OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive \
		$(BIN)/pytest $(WORKERS) $(LIGHT) --dist worksteal -m rounding $(ROUNDING)
	ATEN_CPU_CAPABILITY=default OMP_NUM_THREADS=1 \
		$(BIN)/pytest $(WORKERS) $(LIGHT) --dist worksteal -m rounding $(ROUNDING)

browser:
	@sh tests/browser/need_chromium.sh

node:
	@command -v npx >/dev/null || { echo "no node: the page's scripts are tested with it (20 or newer)"; exit 1; }

clean:
	rm -rf _build

# uv takes a tenth of pip's time; where only pip.conf names the index, pip does it
$(READY): requirements.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: PYTHON=/path/to/python3.12 make ..."; exit 1; }
	test -x $(BIN)/pip || { rm -rf .venv; $(PYTHON) -m venv .venv; }
	$(BIN)/python -m pip install --quiet uv -c constraints.txt \
		&& $(BIN)/uv pip install --quiet --python $(BIN)/python $(REQUIRED) \
		|| $(BIN)/python -m pip install --quiet --no-compile $(REQUIRED)
	@touch $(READY)
