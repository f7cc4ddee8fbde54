# SPDX-License-Identifier: GPL-2.0-only
# The only front door. Every target is a program in tools/; `make help` is the index.

PY := python3 -B

.PHONY: help demo test test-all test-list kselftest bench vm tree refresh check mutants fetch kernel qemu \
	clean distclean

help:
	@$(PY) tools/help.py

demo:
	@$(PY) tools/demo.py $(if $(ARCH),--arch "$$ARCH")

test:
	@$(PY) tools/test.py $(if $(ARCH),--arch "$$ARCH") $(if $(SUITE),--suite "$$SUITE") $(if $(TEST),--test "$$TEST")

test-all:
	@$(PY) tools/test.py --all $(if $(ARCH),--arch "$$ARCH") $(if $(SUITE),--suite "$$SUITE") $(if $(TEST),--test "$$TEST")

test-list:
	@$(PY) tools/test.py --list

kselftest:
	@$(PY) tools/selftests.py

bench:
	@$(PY) tools/bench.py $(if $(SAVE),--save) $(if $(ONLY),--only "$$ONLY")

vm:
	@$(PY) tools/vm.py $(if $(ADD),--add "$$ADD") $(if $(RUN),--run "$$RUN") \
		$(if $(ARCH),--arch "$$ARCH") $(if $(KERNEL),--kernel "$$KERNEL") $(if $(UNITS),--units "$$UNITS") \
		$(if $(DEVICES),--devices "$$DEVICES") $(if $(CPUS),--cpus "$$CPUS") \
		$(if $(MEMORY),--memory "$$MEMORY") $(if $(SVADEV),--svadev "$$SVADEV") \
		$(if $(UNIT),--unit "$$UNIT") $(if $(APPEND),--append "$$APPEND") $(if $(TIMEOUT),--timeout "$$TIMEOUT")

tree:
	@$(PY) tools/tree.py

refresh:
	@$(PY) tools/tree.py refresh

check:
	@$(PY) tools/check.py

mutants:
	@$(PY) tools/mutants.py $(if $(MUTANT),--mutant "$$MUTANT") \
		$(if $(SAMPLE),--sample "$$SAMPLE") $(if $(SEED),--seed "$$SEED") \
		$(if $(FILES),--files "$$FILES") $(if $(GUESTS),--guests)

fetch:
	@$(PY) tools/packages.py

kernel:
	@$(PY) tools/kernel.py $(if $(ARCH),--arch "$$ARCH") $(if $(FLAVOUR),"$$FLAVOUR")

qemu:
	@$(PY) tools/qemu.py $(if $(ARCH),--arch "$$ARCH")

clean:
	@$(PY) tools/clean.py

distclean:
	@$(PY) tools/clean.py --cache

# Developers of kernels have one in their environment, which means something else.
ifneq ($(origin ARCH),command line)
override ARCH :=
unexport ARCH
endif

# These do all there is, or only x86_64.
ifneq ($(and $(ARCH),$(filter bench check kselftest mutants,$(MAKECMDGOALS))),)
$(error ARCH= is for demo, test, test-all, vm, kernel and qemu)
endif

# Words as they were typed, in the environment: neither make nor the shell expands them.
WORDS := ADD APPEND ARCH CPUS DEVICES FILES FLAVOUR KERNEL MEMORY MUTANT ONLY PATCH RUN SAMPLE SEED SUITE \
	SVADEV TEST TIMEOUT UNIT UNITS
$(foreach word,$(WORDS),$(if $(value $(word)),\
	$(eval override $(word) := $$(value $(word)))$(eval export $(word))))
