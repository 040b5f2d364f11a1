# Quern. `make` builds build/<MODE>/quern and libquern.{a,so}; `make chat` and `make test`
# install what is missing, build, and run. `make help` lists the targets.

MODE      ?= release
BUILD     ?= build
PREFIX    ?= /usr/local
BINDIR    ?= $(PREFIX)/bin
LIBDIR    ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR    ?= $(PREFIX)/share/man
DESTDIR   ?=
OUT       := $(BUILD)/$(MODE)
MODEL     ?= models/quern-demo
PYTHON    ?= /usr/bin/python3
ORACLE_PYTHON ?= python3
FUZZ_SECONDS  ?= 30

version_part = $(shell sed -n 's/^.define QUERN_VERSION_$(1) //p' include/quern.h)
VERSION_MAJOR := $(call version_part,MAJOR)
VERSION   := $(VERSION_MAJOR).$(call version_part,MINOR).$(call version_part,PATCH)
ARCH      := $(shell uname -m)
JOBS      := $(shell nproc 2>/dev/null || echo 2)
# `make V=1` shows the commands.
Q         := $(if $(V),,@)
say        = $(if $(V),,@printf '  %-4s %s\n' '$(1)' '$(2)')

# ---- what to build ----------------------------------------------------------
KERNEL_DIRS_x86_64  := generic avx2 avx512 avx512vnni avx512bf16 avx512amx
KERNEL_DIRS_aarch64 := generic neon neondot neonmmla
KERNEL_DIRS := $(or $(KERNEL_DIRS_$(ARCH)),generic)

ALL_SRCS  := $(sort $(shell find src -name '*.c'))
ISA_SRCS  := $(filter $(foreach d,$(notdir $(wildcard src/kernels/*)),src/kernels/$(d)/%),$(ALL_SRCS))
SRCS      := $(filter-out $(ISA_SRCS),$(ALL_SRCS)) \
             $(filter $(foreach d,$(KERNEL_DIRS),src/kernels/$(d)/%),$(ISA_SRCS))
# The program's own part; the rest is the library.
CLI_SRCS  := $(filter src/cli/% src/server/% src/openai/% src/mcp/% src/tools/%,$(SRCS))
LIB_SRCS  := $(filter-out $(CLI_SRCS),$(SRCS))
TEST_SRCS := $(sort $(shell find tests/unit -name 'test_*.c' 2>/dev/null))
CHECK_SRCS := $(sort $(shell find tests/kernels -name 'check_*.c' -o -name 'test_*.c' 2>/dev/null))
ALLOC_SRCS := $(sort $(wildcard tests/alloc/*.c))
TEST_HELPER_SRCS := $(sort $(shell find tests/support -name '*.c' 2>/dev/null))
FUZZ_SRCS := $(sort $(wildcard fuzz/fuzz_*.c))
EXAMPLE_SRCS := $(sort $(wildcard examples/*.c))
BENCH_SRCS := $(sort $(wildcard bench/*.c))

LIB_OBJS  := $(LIB_SRCS:%.c=$(OUT)/%.o)
CLI_OBJS  := $(CLI_SRCS:%.c=$(OUT)/%.o)
WEB_FILES := $(sort $(foreach e,html css js svg json,$(wildcard src/server/web/*.$(e))))
WEB_OBJ   := $(OUT)/src/server/web/files.o
TEST_HELPER_OBJS := $(TEST_HELPER_SRCS:%.c=$(OUT)/%.o)
ALLOC_OBJS := $(ALLOC_SRCS:%.c=$(OUT)/%.o)
UNIT_BINS := $(TEST_SRCS:%.c=$(OUT)/%)
CHECK_BINS := $(CHECK_SRCS:%.c=$(OUT)/%)
TEST_BINS := $(UNIT_BINS) $(CHECK_BINS)
ALLOC_BIN := $(if $(ALLOC_SRCS),$(OUT)/tests/alloc/alloc_check)
FUZZ_BINS := $(FUZZ_SRCS:%.c=$(OUT)/%)
REPLAY_BINS := $(FUZZ_SRCS:fuzz/fuzz_%.c=$(OUT)/fuzz/replay_%)
EXAMPLE_BINS := $(EXAMPLE_SRCS:%.c=$(OUT)/%)
BENCH_BINS := $(BENCH_SRCS:%.c=$(OUT)/%)

# ---- how to build -----------------------------------------------------------
PKGS      := jansson libutf8proc libpcre2-8
CLI_PKGS  := libedit libmicrohttpd inih libcurl

# Targets that install packages, or build nothing, run without the libraries.
NO_DEPS_GOALS := help clean test chat check format uninstall fuzz fuzz-run oracle check-kernels-neon neon-programs run-neon-programs
ifneq ($(or $(filter-out $(NO_DEPS_GOALS),$(MAKECMDGOALS)),$(if $(MAKECMDGOALS),,all)),)
ifeq ($(shell command -v pkg-config),)
$(error pkg-config is missing. Run scripts/install-deps.sh)
endif
deb_jansson := libjansson-dev
deb_libutf8proc := libutf8proc-dev
deb_libpcre2-8 := libpcre2-dev
deb_libedit := libedit-dev
deb_libmicrohttpd := libmicrohttpd-dev
deb_inih := libinih-dev
deb_libcurl := libcurl4-openssl-dev
MISSING := $(strip $(foreach p,$(PKGS) $(CLI_PKGS),$(if $(shell pkg-config --exists $(p) || echo no),$(deb_$(p)))))
ifneq ($(MISSING),)
$(error Missing: $(MISSING) (names of Debian). Run scripts/install-deps.sh build)
endif
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) $(CLI_PKGS))
LIBS      := $(shell pkg-config --libs $(PKGS)) -lm -lpthread
CLI_LIBS  := $(shell pkg-config --libs $(CLI_PKGS))
endif
TEST_LIBS := -lcmocka

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes \
        -Wmissing-prototypes -Wvla -Wundef
ifdef WERROR
WARN += -Werror
endif

SAN_asan  := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
SAN_ubsan := -fsanitize=undefined -fno-sanitize-recover=all
SAN_tsan  := -fsanitize=thread
SAN_fuzz  := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPT_release := -O2 -DNDEBUG
OPT_debug   := -Og
# gcc loses track of values behind the code the sanitizers insert.
OPT_asan    := -O1 -Wno-maybe-uninitialized
OPT_ubsan   := -O1 -Wno-maybe-uninitialized
OPT_tsan    := -O1 -Wno-maybe-uninitialized
OPT_fuzz    := -O1
ifeq ($(OPT_$(MODE)),)
$(error MODE is one of release, debug, asan, ubsan, tsan, fuzz; not "$(MODE)")
endif
ifeq ($(MODE),fuzz)
CC := clang
endif

# -ffp-contract=off: results may not depend on what the compiler fuses (docs/NUMERICS.md).
CFLAGS   ?= -g
QCFLAGS  := -std=c11 -D_GNU_SOURCE -Iinclude -Isrc -fPIC -fvisibility=hidden -ffp-contract=off \
            $(WARN) $(OPT_$(MODE)) $(SAN_$(MODE)) $(PKG_CFLAGS) $(CFLAGS)
QLDFLAGS := $(SAN_$(MODE)) $(LDFLAGS)

ISA_FLAGS_generic := -O3
ISA_FLAGS_avx2    := -O3 -mavx2 -mfma -mf16c
ISA_FLAGS_avx512  := -O3 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx2 -mfma -mf16c
ISA_FLAGS_avx512vnni := $(ISA_FLAGS_avx512) -mavx512vnni
# Tuned for a CPU that has the instructions, gcc 12 spills fewer registers.
ISA_FLAGS_avx512bf16 := $(ISA_FLAGS_avx512vnni) -mavx512bf16 -mavx512vbmi -mtune=icelake-server
ISA_FLAGS_avx512amx := $(ISA_FLAGS_avx512bf16)
# gcc 12 would load early what then finds no register: half of the sums moved to and fro.
NO_EARLY_LOADS    := $(if $(findstring clang,$(CC)),,-fno-schedule-insns)
ISA_FLAGS_neon    := -O3 $(NO_EARLY_LOADS)
ISA_FLAGS_neondot := -O3 $(NO_EARLY_LOADS) -march=armv8.2-a+dotprod
ISA_FLAGS_neonmmla := -O3 $(NO_EARLY_LOADS) -march=armv8.2-a+dotprod+i8mm+bf16
# Quantizers are loops that want vectors; a square root that may set errno cannot be one.
file_flags = $(if $(filter src/quant/%,$(1)),-O3) $(if $(filter src/kernels/%,$(1)),-fno-math-errno)
# gcc 12 aligns a sanitized function's frame to 32 bytes, whatever its variables need (zmm: 64).
ifneq ($(filter asan,$(MODE)),)
ifeq ($(findstring clang,$(CC)),)
AVX512_FRAMES := --param asan-stack=0
endif
endif
isa_flags = $(call file_flags,$(1)) $(foreach d,$(KERNEL_DIRS),$(if $(findstring src/kernels/$(d)/,$(1)),$(ISA_FLAGS_$(d)))) $(if $(findstring src/kernels/avx512,$(1)),$(AVX512_FRAMES))

.PHONY: all lib
all: $(OUT)/quern lib
lib: $(OUT)/libquern.a $(OUT)/libquern.so

# Everything is rebuilt when the flags change (-Werror changes no object).
FLAGS_STAMP := $(OUT)/.flags
ifneq ($(PKG_CFLAGS),)
FLAGS_TEXT  := $(filter-out -Werror,$(CC) $(QCFLAGS) $(QLDFLAGS)) $(VERSION)
$(shell mkdir -p $(OUT); printf '%s' '$(FLAGS_TEXT)' | cmp -s - $(FLAGS_STAMP) || printf '%s' '$(FLAGS_TEXT)' > $(FLAGS_STAMP))
endif

$(OUT)/%.o: %.c $(FLAGS_STAMP)
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(QCFLAGS) $(call isa_flags,$<) -MMD -MP -c $< -o $@

# Pages inside the program; src/server/web/embedded.c names their symbols.
$(WEB_OBJ): $(WEB_FILES)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)cd src/server/web && $(LD) -r -b binary -z noexecstack -o $(abspath $@) $(notdir $(WEB_FILES))

# An archive must also forget objects whose source is gone.
define archive
	$(call say,AR,$@)
	@rm -f $@
	$(Q)$(AR) rcs $@ $(1)
endef

# What the tests and the program link: every symbol visible.
$(OUT)/libquern_internal.a: $(LIB_OBJS)
	$(call archive,$^)
$(OUT)/libquern_cli.a: $(filter-out %/main.o,$(CLI_OBJS)) $(WEB_OBJ)
	$(call archive,$^)

# What users link: only quern_* is global.
$(OUT)/libquern.a: $(LIB_OBJS)
	$(Q)$(LD) -r -o $(OUT)/quern_all.o $^
	$(Q)objcopy --localize-hidden $(OUT)/quern_all.o
	$(call archive,$(OUT)/quern_all.o)

SONAME := libquern.so.$(VERSION_MAJOR)
$(OUT)/libquern.so: $(LIB_OBJS)
	$(call say,LD,$@)
	$(Q)$(CC) -shared $(QLDFLAGS) -Wl,-soname,$(SONAME) -o $@ $^ $(LIBS)
	@ln -sf libquern.so $(OUT)/$(SONAME)

$(OUT)/quern: $(CLI_OBJS) $(WEB_OBJ) $(OUT)/libquern_internal.a
	$(call say,LD,$@)
	$(Q)$(CC) $(QLDFLAGS) -o $@ $^ $(LIBS) $(CLI_LIBS)

$(EXAMPLE_BINS): $(OUT)/%: %.c $(OUT)/libquern.a
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) -std=c11 -Wall -Wextra -Iinclude $(QLDFLAGS) $(CFLAGS) -o $@ $< $(OUT)/libquern.a $(LIBS)
.PHONY: examples
examples: $(EXAMPLE_BINS)

# ---- install ----------------------------------------------------------------
define pkg_config_file
prefix=$(PREFIX)
libdir=$(LIBDIR)
includedir=$(INCLUDEDIR)

Name: quern
Description: Runs Qwen3-family language models
Version: $(VERSION)
Requires.private: $(PKGS)
Cflags: -I$${includedir}
Libs: -L$${libdir} -lquern
Libs.private: -lm -lpthread
endef
export pkg_config_file
MAN_PAGES := $(sort $(wildcard docs/man/*.1))
LIB_FILE := libquern.so.$(VERSION)

# The manual page is made from the option tables and kept in the repository, so that building
# and installing need no step for it.
.PHONY: man
man: $(OUT)/quern
	$(OUT)/quern help --man > docs/man/quern.1

.PHONY: install uninstall
install: all
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(INCLUDEDIR)
	install -m 755 $(OUT)/quern $(DESTDIR)$(BINDIR)/quern
	install -m 644 include/quern.h $(DESTDIR)$(INCLUDEDIR)/quern.h
	install -m 644 $(OUT)/libquern.a $(DESTDIR)$(LIBDIR)/libquern.a
	install -m 755 $(OUT)/libquern.so $(DESTDIR)$(LIBDIR)/$(LIB_FILE)
	ln -sf $(LIB_FILE) $(DESTDIR)$(LIBDIR)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/libquern.so
	@printf '%s\n' "$$pkg_config_file" > $(DESTDIR)$(LIBDIR)/pkgconfig/quern.pc
ifneq ($(MAN_PAGES),)
	install -d $(DESTDIR)$(MANDIR)/man1
	install -m 644 $(MAN_PAGES) $(DESTDIR)$(MANDIR)/man1
endif
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ]; then ldconfig 2>/dev/null || true; fi

uninstall:
	rm -f $(DESTDIR)$(BINDIR)/quern $(DESTDIR)$(INCLUDEDIR)/quern.h \
	    $(DESTDIR)$(LIBDIR)/libquern.a $(DESTDIR)$(LIBDIR)/libquern.so \
	    $(DESTDIR)$(LIBDIR)/$(SONAME) $(DESTDIR)$(LIBDIR)/$(LIB_FILE) \
	    $(DESTDIR)$(LIBDIR)/pkgconfig/quern.pc \
	    $(MAN_PAGES:docs/man/%=$(DESTDIR)$(MANDIR)/man1/%)

# ---- run --------------------------------------------------------------------
.PHONY: chat
chat:
	@scripts/install-deps.sh build
	@$(MAKE) --no-print-directory -j$(JOBS) MODE=release $(BUILD)/release/quern
	@[ -d "$(MODEL)" ] || { echo "There is no model at $(MODEL). Name a Hugging Face model directory: make chat MODEL=DIR"; exit 1; }
	@$(BUILD)/release/quern chat -m "$(MODEL)"

# The demo model's accuracies, on held-out conversations; slow enough to stay out of `make test`.
.PHONY: eval-demo eval-tools
EVAL_CASES ?= 300
eval-demo: $(OUT)/libquern.so
	@$(PYTHON) models/recipe/evaluate.py --library $(OUT)/libquern.so --model models/quern-demo \
	    --per-skill $(EVAL_CASES) --json $(OUT)/evaluation.json
# EVAL_PYTHON: one with the openai package.
eval-tools: $(OUT)/quern
	@$(or $(EVAL_PYTHON),$(PYTHON)) models/recipe/evaluate_server.py --quern $(OUT)/quern --model models/quern-demo \
	    --per-skill $(EVAL_CASES) $(if $(EVAL_PYTHON),--openai) --json $(OUT)/evaluation-tools.json

# ---- tests ------------------------------------------------------------------
# Where the tools leave their counts for the summary of `make test`.
RESULTS   := $(or $(QUERN_RESULTS),$(OUT)/results)
RUN_PROGRAMS = @mkdir -p $(RESULTS) && $(PYTHON) tests/run_programs.py --jobs $(JOBS) \
               --results $(RESULTS)/$(MODE)-$@.json

.PHONY: test check check-symbols unit alloc e2e fuzz-replay check-kernels test-programs replay-programs
test:
	@PYTHON=$(PYTHON) scripts/install-deps.sh test
	@$(PYTHON) tests/run_all.py "$(MAKE)" "$(abspath $(BUILD))/results"

$(OUT)/tests/%.o: QCFLAGS += -Itests
$(TEST_BINS): %: %.o $(TEST_HELPER_OBJS) $(OUT)/libquern_cli.a $(OUT)/libquern_internal.a
	$(call say,LD,$@)
	$(Q)$(CC) $(QLDFLAGS) -o $@ $^ $(LIBS) $(CLI_LIBS) $(TEST_LIBS)

$(ALLOC_BIN): $(ALLOC_OBJS) $(TEST_HELPER_OBJS) $(OUT)/libquern_cli.a $(OUT)/libquern_internal.a
	$(call say,LD,$@)
	$(Q)$(CC) $(QLDFLAGS) -o $@ $^ $(LIBS) $(CLI_LIBS) $(TEST_LIBS)

test-programs: $(TEST_BINS) $(if $(filter asan tsan,$(MODE)),,$(ALLOC_BIN))
replay-programs: $(REPLAY_BINS)

check:
	@mkdir -p $(RESULTS)
	@$(PYTHON) tests/checks/check_source.py --self-test
	@$(PYTHON) tests/checks/check_source.py --results $(RESULTS)/check.json
check-symbols: all $(OUT)/libquern_cli.a
	@mkdir -p $(RESULTS)
	@$(PYTHON) tests/checks/check_symbols.py $(OUT) --results $(RESULTS)/symbols.json
unit: $(TEST_BINS)
	$(RUN_PROGRAMS) $(TEST_BINS)
check-kernels: $(CHECK_BINS)
	$(RUN_PROGRAMS) $(CHECK_BINS)
# The same programs for 64-bit ARM: cross-compiled, run by qemu-user. Without the compiler or qemu
# a line says so.
NEON_CC   ?= aarch64-linux-gnu-gcc
NEON_RUN  ?= qemu-aarch64-static -cpu max
NEON_CASES ?= 60
# CPUs that lack some of the instructions, for what is then chosen.
NEON_OLDER ?= neoverse-n1 cortex-a72
NEON_OUT  := $(BUILD)/neon
NEON_DIRS := $(KERNEL_DIRS_aarch64)
NEON_SRCS := $(filter-out src/base/net.c,$(wildcard src/base/*.c src/quant/*.c src/kernels/*.c)) \
             $(filter $(foreach d,$(NEON_DIRS),src/kernels/$(d)/%),$(ALL_SRCS)) \
             $(wildcard tests/support/guarded.c tests/support/bench_*.c tests/support/amx_*.c)
NEON_OBJS := $(NEON_SRCS:%.c=$(NEON_OUT)/%.o)
NEON_BINS := $(CHECK_SRCS:%.c=$(NEON_OUT)/%)
neon_flags = $(foreach d,$(NEON_DIRS),$(if $(findstring src/kernels/$(d)/,$(1)),$(ISA_FLAGS_$(d))))
$(NEON_OUT)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC,$< (ARM))
	$(Q)$(NEON_CC) -std=c11 -D_GNU_SOURCE -Iinclude -Isrc -Itests -Itests/support/no_cmocka -ffp-contract=off \
	    $(WARN) $(OPT_release) $(call neon_flags,$<) -MMD -MP -c $< -o $@
$(NEON_BINS): %: %.o $(NEON_OBJS)
	$(call say,LD,$@)
	$(Q)$(NEON_CC) -static -o $@ $^ -lm -lpthread
.PHONY: check-kernels-neon neon-programs run-neon-programs
neon-programs: $(NEON_BINS)
run-neon-programs: $(NEON_BINS)
	$(RUN_PROGRAMS) $(foreach b,$(NEON_BINS),"$(NEON_RUN) $(b) 1 $(NEON_CASES)") \
	    $(foreach c,$(NEON_OLDER),$(foreach b,$(NEON_BINS),"$(firstword $(NEON_RUN)) -cpu $(c) $(b) 1 12"))
	@# And the reference itself computes there what it computes here.
	@native=$(OUT)/tests/kernels/check_kernels; [ -x $$native ] || exit 0; \
	    here=$$($$native 1 20 | grep digest); \
	    there=$$($(NEON_RUN) $(NEON_OUT)/tests/kernels/check_kernels 1 20 | grep digest); \
	    [ "$$here" = "$$there" ] && echo "the same $$here on ARM and here" || \
	    { echo "ARM computes other numbers: $$there, here $$here"; exit 1; }
check-kernels-neon:
	@if command -v $(NEON_CC) >/dev/null && command -v $(firstword $(NEON_RUN)) >/dev/null; then \
	    $(MAKE) --no-print-directory run-neon-programs; \
	else \
	    echo "check-kernels-neon: skipped, $(NEON_CC) or $(firstword $(NEON_RUN)) is missing"; \
	    echo "(Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static)"; \
	fi
# The sanitizers bring allocators of their own, so not with MODE=asan or tsan.
alloc: $(ALLOC_BIN)
	$(RUN_PROGRAMS) $(ALLOC_BIN)
e2e: $(OUT)/quern $(EXAMPLE_BINS)
	@mkdir -p $(RESULTS)
	@QUERN=$(abspath $(OUT)/quern) $(PYTHON) tests/run_e2e.py $(RESULTS)/e2e.json -q -rs tests/e2e
# Not part of `make test`: a server under load for SOAK_SECONDS.
.PHONY: soak
SOAK_SECONDS ?= 600
soak: $(OUT)/quern
	@$(PYTHON) tests/soak_serve.py $(OUT)/quern "$(MODEL)" $(SOAK_SECONDS)
fuzz-replay: $(REPLAY_BINS)
	$(RUN_PROGRAMS) --one-each $(foreach b,$(REPLAY_BINS),"$(b) $(wildcard fuzz/corpus/$(b:$(OUT)/fuzz/replay_%=%))")

# ---- fuzzing (clang) --------------------------------------------------------
$(FUZZ_BINS): %: %.o $(OUT)/libquern_cli.a $(OUT)/libquern_internal.a
	$(call say,LD,$@)
	$(Q)$(CC) $(QLDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LIBS) $(CLI_LIBS)
$(REPLAY_BINS): $(OUT)/fuzz/replay_%: $(OUT)/fuzz/fuzz_%.o $(OUT)/fuzz/replay_main.o $(OUT)/libquern_cli.a \
    $(OUT)/libquern_internal.a
	$(call say,LD,$@)
	$(Q)$(CC) $(QLDFLAGS) -o $@ $^ $(LIBS) $(CLI_LIBS)

.PHONY: fuzz fuzz-run fuzz-programs
fuzz-programs: $(FUZZ_BINS)
fuzz:
	@scripts/install-deps.sh dev
	@$(MAKE) --no-print-directory -j$(JOBS) MODE=fuzz fuzz-programs
# FUZZ=name runs one of them. What is found is kept under build/fuzz/found/.
FUZZ ?= $(FUZZ_SRCS:fuzz/fuzz_%.c=%)
fuzz-run: fuzz
	@for name in $(FUZZ); do \
	    new=$(BUILD)/fuzz/found/$$name; mkdir -p $$new; seeds=fuzz/corpus/$$name; \
	    [ -d $$seeds ] || seeds=; dict=fuzz/$$name.dict; \
	    echo "== $$name"; \
	    $(BUILD)/fuzz/fuzz/fuzz_$$name -max_total_time=$(FUZZ_SECONDS) -timeout=10 \
	        -print_final_stats=1 -verbosity=0 -artifact_prefix=$$new/ \
	        $$([ -f $$dict ] && echo -dict=$$dict) $$new $$seeds || exit 1; \
	done

# ---- oracle, benchmarks, care -------------------------------------------------
.PHONY: oracle bench bench-programs format clean help
oracle:
	@$(ORACLE_PYTHON) tests/golden/compare.py --modules-only
	@$(MAKE) --no-print-directory -j$(JOBS) $(OUT)/quern
	@$(ORACLE_PYTHON) tests/golden/compare.py

$(BENCH_BINS): %: %.o $(OUT)/libquern_internal.a
	$(call say,LD,$@)
	$(Q)$(CC) $(QLDFLAGS) -o $@ $^ $(LIBS)
bench-programs: $(BENCH_BINS)
bench: $(BENCH_BINS)
	@for b in $(BENCH_BINS); do echo "== $$b"; $$b || exit 1; done

# 2,000 random answers of the demo model under 200 random forms, read by jsonschema, lxml, PyYAML, ast, sqlite3 and gcc.
.PHONY: check-forms
check-forms: $(OUT)/quern
	@$(PYTHON) tests/forms/check_forms.py --quern $(OUT)/quern

# Every mask of MaskBench's instances, with caches and made anew token by token: some ten minutes.
MASKBENCH ?= ../shared
.PHONY: check-masks
check-masks: $(OUT)/quern
	@if [ -d $(MASKBENCH)/data/maskbench/files ]; then \
	    $(OUT)/quern grammar bench --verify --tokenizer $(MASKBENCH)/qwen3 --maskbench $(MASKBENCH)/data/maskbench/files; \
	else \
	    echo "check-masks: skipped, $(MASKBENCH)/data/maskbench is missing"; \
	fi

format:
	clang-format -i $(shell git ls-files '*.c' '*.h')

clean:
	rm -rf $(BUILD)

help:
	@printf '%s\n' \
	    'make                  build build/release/quern and libquern.{a,so}; MODE=debug|asan|ubsan|tsan' \
	    'make chat             install what is missing, build, and chat; MODEL=DIR' \
	    'make test             install what is missing, build, and run every test' \
	    'make install          PREFIX=/usr/local DESTDIR=; `make uninstall` takes it away' \
	    'make unit             unit tests; also with MODE=asan|ubsan|tsan' \
	    'make check            include rules, banned functions, sizes' \
	    'make check-symbols    what the libraries show, and clashes with those we link' \
	    'make check-kernels    kernels of every instruction set against the reference' \
	    'make check-kernels-neon  the same for ARM, cross-compiled and under qemu-user' \
	    'make check-forms      2,000 random answers under 200 forms, read by the reference libraries' \
	    'make check-masks      masks of all of MaskBench with and without caches' \
	    'make e2e              end-to-end tests of the program' \
	    'make alloc            every allocation failing in turn' \
	    'make fuzz-replay      fuzz targets over their corpora' \
	    'make fuzz-run         fuzzing with clang; FUZZ_SECONDS=30 FUZZ=name' \
	    'make soak             a server under load for ten minutes; MODEL=DIR SOAK_SECONDS=600' \
	    'make eval-demo        accuracies of models/quern-demo; EVAL_CASES=300 a skill' \
	    'make eval-tools       the same of tools through the server; EVAL_PYTHON=a python with openai' \
	    'make oracle           make the golden files anew and compare; ORACLE_PYTHON=python3' \
	    'make examples         examples/' \
	    'make bench            benchmarks' \
	    'make format           clang-format' \
    'make man              docs/man/quern.1 from the option tables' \
	    'make clean' \
	    '' \
	    'V=1 shows commands; CC=clang; WERROR=1 makes warnings errors; CFLAGS is added.'

-include $(shell find $(OUT) $(NEON_OUT) -name '*.d' 2>/dev/null)
