# Each target works on a fresh machine; what is missing is set up first.
.PHONY: help setup run test chaos bench token fmt lint

help: ## what there is
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 18

setup: ## install what building, running and testing need
	@dev/setup.sh

run: ## start everything and serve http://localhost:3000 (HOSTS=2: two pod hosts)
	@HOSTS=$(HOSTS) dev/run.sh

test: ## format, lint, unit, integration and browser tests on a stack of their own
	@dev/test.sh

chaos: ## every fault in every step of every pod's job (CASE=…: only these; SEED=…)
	@CASE="$(CASE)" SEED="$(SEED)" dev/chaos.sh

bench: ## measure beside peers
	@bench/run.sh

token: ## print an API token on the running stack (LOGIN=owner)
	@dev/token.sh "$(LOGIN)"

fmt: setup ## format the code
	@dev/lint.sh format

lint: setup ## build everything, with clippy as the compiler
	@dev/lint.sh clippy
