# make help lists the targets. All of them set up what they need, in .venv.

# threads that wait for work sleep: spinning ones starve each other where cores are shared
export OMP_WAIT_POLICY ?= passive

PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin
READY := .venv/.installed

# the grid of results/grid: sized, before it ran, for two cores
GRID := $(BIN)/python -m embedding_collapse sweep --output results/grid --no-weights --ray \
	--embedding-size 5 --hidden 100 --batch-size 512 --epochs 4
DATA := "synthetic-mini" "flights --rows 100000"
VARIANTS := dcnv2-shared,dcnv2-linear,dcnv2-aligned,ipnn-raw
# the runs of results/beyond; their options, which come last, win over the grid's
SUPPRESSED := dcnv2,dcnv2-regularized,dnn
BEYOND := $(GRID) --output results/beyond --models dcnv2 --dataset synthetic-mini

# it checks the types of the page's modules
TYPESCRIPT := 5.9.3

# the full-scale runs: make record DATASET=criteo PATH=train.txt MINUTES=120
DATASET ?= synthetic
MINUTES ?= 60
ifeq ($(origin PATH),command line)
FILE := $(PATH)
override PATH := $(shell command -p getconf PATH):/usr/local/bin:/usr/local/cuda/bin
endif

.PHONY: help book test test-rounding serve refresh grid interaction beyond precision record links address clean browser node
.DEFAULT_GOAL := help

help:
	@echo "make book      run every chapter and build the book into _build/html"
	@echo "make serve     read the built book at http://localhost:$(PORT) (PORT=... for another)"
	@echo "make test      lint, unit tests, the wheel, scripts, notebooks against their outputs, the book in a browser"
	@echo "make test-rounding  the tests that rounding could fail, as on two other processors"
	@echo "make refresh   run every chapter and store its outputs and records in the repository"
	@echo "make grid      run what is missing in results/grid: every model, SE and ME, three seeds"
	@echo "make interaction  run what is missing in results/interaction: FFM, for chapter 3"
	@echo "make beyond    run what is missing in results/beyond: equal parameters, depth, more rows"
	@echo "make precision run what is missing in results/precision: the grid's ends with products in bf16"
	@echo "make record    full-scale runs for MINUTES=60, most telling first, and chapters made of them"
	@echo "make links     ask every address outside the book whether it is still there"
	@echo "make address   REPOSITORY=https://... writes the book's public address where it is needed"
	@echo "make clean     remove what was built (_build)"
	@echo "PYTHON=python3.12 make ... picks the Python (3.11 or newer) that makes .venv"

book: $(READY)
	$(BIN)/python book/build.py

refresh: $(READY)
	$(BIN)/python book/build.py --refresh

grid: $(READY)
	for data in $(DATA); do \
		$(GRID) --dataset $$data --scales 1,4,10 || exit; \
		$(GRID) --dataset $$data --scales 1,4,10 --designs se --models dcnv2-regularized || exit; \
		$(GRID) --dataset $$data --scales 4,10 --designs me --models $(VARIANTS) || exit; \
	done
	$(GRID) --dataset synthetic-mini --scales 4,10 --designs se --models dcnv2-flat,dcnv2-sfg
	$(GRID) --dataset synthetic-mini --scales 4,10 --designs me --models dcnv2-distinct

links: $(READY)
	$(BIN)/python book/build.py --stored --links

address: $(READY)
	$(BIN)/python book/address.py $(REPOSITORY)

interaction: $(READY)
	for data in $(DATA); do \
		$(GRID) --output results/interaction --dataset $$data --models ffm --designs se --scales 1 \
			|| exit; \
	done

# as many parameters as ME 4x and 10x; other numbers of cross layers; a quarter and four times the
# rows for as many steps; the other form of the regulariser; and, added once those had been seen, no
# weight decay
beyond: $(READY)
	for size in 14 24; do $(BEYOND) --scales 1 --embedding-size $$size || exit; done
	for layers in 2 8 16; do \
		$(BEYOND) --scales 1 --cross-layers $$layers || exit; \
		$(BEYOND) --dataset flights --rows 100000 --scales 1 --cross-layers $$layers || exit; \
	done
	$(BEYOND) --scales 1,10 --rows 50000 --epochs 16
	$(BEYOND) --scales 1,10 --rows 800000 --epochs 1
	$(BEYOND) --models dcnv2-regularized-fixed --designs se --scales 1,4,10
	$(BEYOND) --models $(SUPPRESSED) --designs se --scales 1,10 --weight-decay 0

precision: $(READY)
	$(GRID) --output results/precision --dataset synthetic-mini --models dcnv2,dnn --scales 1,10 \
		--precision bf16

record: $(READY)
	$(BIN)/python -m embedding_collapse record --dataset $(DATASET) --minutes $(MINUTES) \
		$(if $(FILE),--path "$(FILE)") $(OPTIONS)

serve: $(READY)
	@test -d _build/html || { echo "there is no book yet: run make book"; exit 1; }
	$(BIN)/python -m http.server $(PORT) --bind localhost --directory _build/html

# nbval runs inside pytest, and the warnings of notebooks' own libraries are not ours to mend
test: $(READY) browser node
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/pytest tests --ignore=tests/browser --ignore=tests/test_wheel.py
	$(BIN)/pytest tests/test_wheel.py
	node --test tests/live/*.test.mjs
	npx --yes --package typescript@$(TYPESCRIPT) tsc --project tests/live
	$(BIN)/pytest --nbval notebooks -o filterwarnings=default
	$(BIN)/python book/build.py --stored
	$(BIN)/pytest tests/browser -n 2 --dist loadgroup

# the tests that compare two orders of operations, under orders that other processors take
test-rounding: $(READY)
	MKL_ENABLE_INSTRUCTIONS=AVX2 $(BIN)/pytest -m rounding tests --ignore=tests/browser
	ATEN_CPU_CAPABILITY=default OMP_NUM_THREADS=1 \
		$(BIN)/pytest -m rounding tests --ignore=tests/browser

browser:
	@sh tests/browser/need_chromium.sh

node:
	@command -v npx >/dev/null || { echo "no node: the page's scripts are tested with it (20 or newer)"; exit 1; }

clean:
	rm -rf _build

$(READY): requirements.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: PYTHON=/path/to/python3.12 make ..."; exit 1; }
	test -x $(BIN)/pip || { rm -rf .venv; $(PYTHON) -m venv .venv; }
	$(BIN)/python -m pip install --quiet -r requirements.txt -c constraints.txt
	@touch $(READY)
