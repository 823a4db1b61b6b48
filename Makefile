# The common tasks. `make ci` is what must pass before a change is taken.

COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
# From within docker/: older releases look for the seccomp profile from where they are called.
COMPOSE_FILE_RUN = cd docker && $(COMPOSE) -p esker -f docker-compose.test.yml
COMPOSE_RUN = $(COMPOSE_FILE_RUN) run --rm

.PHONY: help ci pingora test proof test-linux test-no-ring test-all bench bench-linux build-linux image-base image clean-linux

help:
	@echo "make ci            everything that must hold: format, lints, tests, docs, examples, a replay (.ci/run)"
	@echo "make pingora       the same for adapters/pingora, which needs cmake (.ci/pingora)"
	@echo "make test          the tests, here"
	@echo "make test-linux    the tests, in a Linux container (image-base first, or BASE_IMAGE=rust:1.95-bookworm)"
	@echo "make test-no-ring  the fallback tests, in a container whose seccomp profile refuses io_uring"
	@echo "make test-all      all of these"
	@echo "make proof         the whole scoreboard (hours; root for the rows on real file systems)"
	@echo "make bench         the benchmarks, here"
	@echo "make bench-linux   the benchmarks, in a Linux container"
	@echo "make build-linux   a release build, in a Linux container"
	@echo "make image-base    the base image without a registry (root; needs debootstrap)"
	@echo "make clean-linux   removes the containers' volumes"

ci:
	.ci/run

pingora:
	.ci/pingora

test:
	cargo test --workspace

proof:
	cargo run --release -p esker-proof -- scoreboard --slice full

image-base:
	docker/base.sh

image:
	$(COMPOSE_FILE_RUN) build test-linux

test-linux: image
	$(COMPOSE_RUN) test-linux

test-no-ring: image
	$(COMPOSE_RUN) test-no-ring

test-all: test test-linux test-no-ring

bench:
	cargo bench

bench-linux: image
	$(COMPOSE_RUN) bench-linux

build-linux: image
	$(COMPOSE_RUN) build-linux

clean-linux:
	$(COMPOSE_FILE_RUN) down --volumes
