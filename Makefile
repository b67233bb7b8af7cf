# Every target sets up .venv by itself, once; all it needs is make and Python 3.10 or later.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint bench clean

demo: .venv/.installed
	@$(BIN)/python -m wmark.benchmarks.demo --out demo

test: .venv/.installed
	@.ci/postgresql
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

lint: .venv/.installed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

bench: .venv/.installed
	@$(BIN)/wmark bench seconds --out benchmarks/results
	@$(BIN)/wmark bench marks --out benchmarks/results
	@$(BIN)/wmark bench confusion --out benchmarks/results
	@$(BIN)/wmark bench detection --out benchmarks/results
	@$(BIN)/wmark bench robustness --out benchmarks/results
	@$(BIN)/wmark bench ledger --out benchmarks/results
	@$(BIN)/wmark bench likeness --out benchmarks/results
	@$(BIN)/wmark bench transplants --out benchmarks/results
	@$(BIN)/wmark bench null --out benchmarks/results
	@$(BIN)/wmark bench null-names --out benchmarks/results
	@$(BIN)/wmark bench identities --out benchmarks/results
	@$(BIN)/wmark bench impostors --out benchmarks/results
	@$(BIN)/wmark bench attackers --out benchmarks/results
	@$(BIN)/wmark bench audit --out benchmarks/results
	@$(BIN)/wmark bench decoder-inversion --out benchmarks/results
	@$(BIN)/wmark bench ablation --out benchmarks/results
	@$(BIN)/wmark bench latent --out benchmarks/results
	@$(BIN)/wmark bench inversion --out benchmarks/results
	@$(BIN)/wmark bench photographs --out benchmarks/results
	@$(BIN)/wmark bench guidance --out benchmarks/results
	@$(BIN)/wmark bench editing --out benchmarks/results
	@$(BIN)/wmark bench gradients --out benchmarks/results
	@$(BIN)/wmark bench restoration --out benchmarks/results
	@$(BIN)/wmark bench cocoercivity --out benchmarks/results
	@$(BIN)/wmark bench clips --out benchmarks/results
	@$(BIN)/wmark bench autoencoders --timed --out benchmarks/results

clean:
	rm -rf .venv build dist demo wmark.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed: setup.cfg pyproject.toml constraints.txt
	@echo "Setting up .venv: wmark (editable) and the versions in constraints.txt; once, a few minutes"
	@$(PYTHON) -m venv .venv
	@# Modules are compiled when they are imported: most of what torch and transformers bring never is.
	@$(BIN)/python -m pip install -qq --no-compile --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
