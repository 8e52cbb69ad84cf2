.PHONY: dev check test

dev:            ## everything installed, and the link through which mypy and pyright find the package
	uv sync
	mkdir -p .typing && ln -sfn .. .typing/longtake

check: dev      ## style and types
	uv run ruff check .
	uv run ruff format --check .
	uv run mypy

test: dev       ## the tests that are fast
	uv run pytest
