SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
PORT ?= 8000
PY := .venv/bin/python
PAGES := .venv/.pages
READY := .venv/.ready
VENDOR := book/_assets/vendor/.ready
NBVAL := --nbval --nbval-current-env --nbval-sanitize-with=tests/book/sanitize.cfg --nbval-cell-timeout=600

# What looks at sources alone, and what proves the mathematics: no browser, no second process.
FAST := $(addprefix tests/book/test_,notebooks evidence glossary equation_page chapter_equations reference_pages alt address \
  why family) $(addprefix tests/library/test_,schedule sampling ode properties metrics weights) tests/course/test_release \
  $(addprefix tests/test_,project imports shipped)
.PHONY: help setup book pdf course check lab test links next dist proof bench notebooks release grade gradescope serve clean lock address

help:  ## this list
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

# TORCH=cpu: PyTorch's own index has the same versions without CUDA, whose packages are then not needed.
ifeq ($(TORCH),cpu)
CHOSEN = --extra-index-url https://download.pytorch.org/whl/cpu -r <(grep -vE '^(nvidia|cuda)-|^triton' requirements.lock)
else ifdef TORCH
$(error TORCH must be cpu or left out, got $(TORCH))
else
CHOSEN = -r requirements.lock
endif

setup: $(READY)  ## a virtual environment in .venv with the versions of requirements.lock; TORCH=cpu: without CUDA

# What the pages need comes first, a part of the rest: who only builds them waits for no torch.
# Python compiles what it imports; pip would compile all, which takes as long as the download.
$(PAGES): requirements-book.lock
	@$(PYTHON) scripts/check_python.py
	@test -x .venv/bin/pip || $(PYTHON) -m venv .venv || \
	  { echo "No virtual environment could be made. On Debian: apt install python3-venv"; exit 1; }
	$(PY) -m pip install --disable-pip-version-check --no-compile -r requirements-book.lock
	@touch $@

.venv/.locked: requirements.lock | $(PAGES)
	$(PY) -m pip install --disable-pip-version-check $(CHOSEN)
	@touch $@

$(READY): .venv/.locked pyproject.toml
	$(PY) -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Scripts that the pages serve themselves: mathematics, widgets, the runtime of the network.
$(VENDOR): package.json package-lock.json scripts/assets/vendor.py scripts/assets/mathjax_parts.py \
  scripts/assets/widgets_prelude.js | $(PAGES)
	$(PY) -m scripts.assets.vendor

book: $(PAGES) $(VENDOR)  ## the pages, in _build/html; any warning is an error
	.venv/bin/jupyter-book build . -W -n --keep-going

pdf: $(PAGES)  ## the whole book as one PDF, in _build/pdf; needs TeX
	$(PY) scripts/pdf.py

course: $(PAGES) $(VENDOR)  ## pages, notebooks and PDF without solutions, in _build/course
	$(PY) -m course.edition.build $(if $(REPO),--repo "$(REPO)")

check: $(READY)  ## before a commit, two minutes: lint, notebooks' form, the library's fast tests
	$(PY) -m ruff check .
	$(PY) -m pytest -q -n 2 --dist=loadfile -m "not slow" $(FAST:=.py)

lab: $(READY)  ## the chapters in JupyterLab
	$(PY) -m jupyterlab --notebook-dir=book

test: $(READY)  ## every test; every chapter runs again and must give what is committed
	$(PY) -m pytest -n 2 --dist=loadfile $(NBVAL)

links: $(PAGES) $(VENDOR)  ## every link of the pages to another host, asked
	.venv/bin/jupyter-book build . --builder linkcheck

# Jupyter Book 1 holds Sphinx below 8. Here the configuration that it makes is read by the newest, with the newest of
# all that requirements-book.lock names.
next: $(PAGES) $(VENDOR)  ## the pages with the newest Sphinx, in _build/next/html, to see what will change
	rm -rf _build/next
	$(PYTHON) -m venv _build/next
	_build/next/bin/python -m pip install --disable-pip-version-check --quiet 'sphinx>=9' \
	  $$(sed -E '/^(jupyter-book|sphinx)==/d; s/[=; ].*//' requirements-book.lock)
	_build/next/bin/python -m pip install --disable-pip-version-check --quiet --no-deps $$(grep -o '^jupyter-book==[^ ;]*' requirements-book.lock)
	.venv/bin/jupyter-book config sphinx .
	trap 'rm conf.py' EXIT; PYTHONPATH=book/_ext:. _build/next/bin/sphinx-build -W -n --keep-going . _build/next/html

dist: $(READY)  ## wheel and source archive, in dist; TAG=v1.2.3 must be their version
	@version=v$$($(PY) -c "import ddim_lib; print(ddim_lib.__version__)"); test "$(or $(TAG),$$version)" = "$$version" || \
	  { echo "TAG must be the library's version, $$version, got $(TAG)"; exit 1; }
	rm -rf dist
	$(PY) -m hatchling build

proof: $(READY)  ## what takes minutes to prove, one by ONLY=NAME; records in data/results
	$(PY) -m proofs $(ONLY)

bench: $(READY)  ## speed and memory against other libraries, on a quiet machine, one by ONLY=NAME
	$(PY) -m benchmarks $(ONLY)

notebooks: $(READY)  ## run every chapter from a fresh kernel and rewrite its outputs in normal form
	$(PY) -m scripts.notebooks

release: $(READY)  ## the assignments' notebooks for students, from course/source
	$(PY) -m course.release

grade: $(READY)  ## make grade SUBMISSIONS=folder: points and feedback; the guide is book/for_instructors.md
	$(PY) -m course.grader "$(or $(SUBMISSIONS),$(error say where the submissions lie: make grade SUBMISSIONS=folder))" \
	  $(if $(ASSIGNMENT),--assignment "$(ASSIGNMENT)") $(if $(OUT),--out "$(OUT)") \
	  $(if $(MANUAL),--manual "$(MANUAL)") $(if $(JOBS),--jobs "$(JOBS)") \
	  $(if $(COURSE),--course "$(COURSE)") $(OPTIONS)

gradescope: $(READY)  ## a zip for Gradescope's autograder for each assignment, in _build/gradescope
	$(PY) -m course.grader.gradescope $(if $(COURSE),--course "$(COURSE)") $(OPTIONS)

serve: $(PAGES)  ## open the built book in a browser
	@test -f _build/html/index.html || { echo "There is no built book yet: make book"; exit 1; }
	@(sleep 1; $(PY) -m webbrowser -t http://localhost:$(PORT)/ > /dev/null) &
	@$(PY) -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

clean:  ## remove what was built, not the environment
	rm -rf _build dist node_modules book/_assets/vendor
	rm -rf .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

# Pins already in the file stay unless asked: make lock UPGRADE="--upgrade-package pillow".
COMPILE := $(PY) -m uv pip compile --universal --python-version 3.11 \
  --no-annotate --no-header --no-emit-index-url --no-emit-find-links
lock: $(PAGES)  ## write both lock files anew from pyproject.toml
	$(PY) -m pip install --disable-pip-version-check --quiet uv
	$(COMPILE) --all-extras --group pages $(UPGRADE) -o requirements.lock pyproject.toml
	$(COMPILE) --group pages --constraint requirements.lock -o requirements-book.lock

address: $(READY)  ## make address REPO=owner/name: move the project's public address everywhere
	$(PY) scripts/address.py "$(or $(REPO),$(error say the new address: make address REPO=owner/name))"
	$(PY) -m course.release
