# Quern. `make` builds build/<MODE>/quern and libquern.{a,so}; `make chat` and `make test`
# install what is missing, build, and run. See README.md.

MODE      ?= release
BUILD     ?= build
PREFIX    ?= /usr/local
DESTDIR   ?=
OUT       := $(BUILD)/$(MODE)
MODEL     ?= models/quern-demo

VERSION   := $(shell sed -n 's/^\#define QUERN_VERSION_\(MAJOR\|MINOR\|PATCH\) //p' include/quern.h | paste -sd.)
ARCH      := $(shell uname -m)

# ---- what to build ----------------------------------------------------------
KERNEL_DIRS_x86_64  := generic avx2 avx512
KERNEL_DIRS_aarch64 := generic neon
KERNEL_DIRS := $(or $(KERNEL_DIRS_$(ARCH)),generic)

ALL_SRCS  := $(sort $(shell find src -name '*.c'))
ISA_SRCS  := $(filter src/kernels/generic/% src/kernels/avx2/% src/kernels/avx512/% src/kernels/neon/%,$(ALL_SRCS))
SRCS      := $(filter-out $(ISA_SRCS),$(ALL_SRCS)) \
             $(filter $(foreach d,$(KERNEL_DIRS),src/kernels/$(d)/%),$(ISA_SRCS))
CLI_SRCS  := $(filter src/cli/%,$(SRCS))
LIB_SRCS  := $(filter-out src/cli/%,$(SRCS))
TEST_SRCS := $(sort $(shell find tests/unit tests/kernels -name 'test_*.c' -o -name 'check_*.c' 2>/dev/null))
TEST_HELPER_SRCS := $(sort $(shell find tests/support -name '*.c' 2>/dev/null))
FUZZ_SRCS := $(sort $(wildcard fuzz/fuzz_*.c))
EXAMPLE_SRCS := $(sort $(wildcard examples/*.c))

LIB_OBJS  := $(LIB_SRCS:%.c=$(OUT)/%.o)
CLI_OBJS  := $(CLI_SRCS:%.c=$(OUT)/%.o)
TEST_BINS := $(TEST_SRCS:%.c=$(OUT)/%)
FUZZ_BINS := $(FUZZ_SRCS:%.c=$(OUT)/%)
EXAMPLE_BINS := $(EXAMPLE_SRCS:%.c=$(OUT)/%)

# ---- how to build -----------------------------------------------------------
PKGS      := jansson libutf8proc libpcre2-8
CLI_PKGS  := libedit
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) $(CLI_PKGS) 2>/dev/null)
LIBS      := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm -lpthread
CLI_LIBS  := $(shell pkg-config --libs $(CLI_PKGS) 2>/dev/null)
TEST_LIBS := -lcmocka

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes \
        -Wmissing-prototypes -Wvla -Wundef
ifdef WERROR
WARN += -Werror
endif

SAN_asan  := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
SAN_ubsan := -fsanitize=undefined -fno-sanitize-recover=all
SAN_tsan  := -fsanitize=thread
OPT_release := -O2 -DNDEBUG
OPT_debug   := -Og
OPT_asan    := -O1
OPT_ubsan   := -O1
OPT_tsan    := -O1
ifeq ($(OPT_$(MODE)),)
$(error MODE is one of release, debug, asan, ubsan, tsan; not "$(MODE)")
endif

# -ffp-contract=off: results may not depend on what the compiler fuses (docs/NUMERICS.md).
CFLAGS   ?= -g
QCFLAGS  := -std=c11 -D_GNU_SOURCE -Iinclude -Isrc -fPIC -fvisibility=hidden -ffp-contract=off \
            $(WARN) $(OPT_$(MODE)) $(SAN_$(MODE)) $(PKG_CFLAGS) $(CFLAGS)
QLDFLAGS := $(SAN_$(MODE)) $(LDFLAGS)

ISA_FLAGS_generic := -O3
ISA_FLAGS_avx2    := -O3 -mavx2 -mfma -mf16c
ISA_FLAGS_avx512  := -O3 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx2 -mfma -mf16c
ISA_FLAGS_neon    := -O3
isa_flags = $(foreach d,$(KERNEL_DIRS),$(if $(findstring src/kernels/$(d)/,$(1)),$(ISA_FLAGS_$(d))))

.PHONY: all lib
all: $(OUT)/quern lib
lib: $(OUT)/libquern.a $(OUT)/libquern.so

# Everything is rebuilt when the flags change.
FLAGS_STAMP := $(OUT)/.flags
FLAGS_TEXT  := $(CC) $(QCFLAGS) $(QLDFLAGS) $(VERSION)
$(shell mkdir -p $(OUT); printf '%s' '$(FLAGS_TEXT)' | cmp -s - $(FLAGS_STAMP) || printf '%s' '$(FLAGS_TEXT)' > $(FLAGS_STAMP))

$(OUT)/%.o: %.c $(FLAGS_STAMP)
	@mkdir -p $(@D)
	$(CC) $(QCFLAGS) $(call isa_flags,$<) -MMD -MP -c $< -o $@

# What the tests and the program link: every symbol visible.
$(OUT)/libquern_internal.a: $(LIB_OBJS)
	@rm -f $@
	$(AR) rcs $@ $^

# What users link: only quern_* is global.
$(OUT)/libquern.a: $(LIB_OBJS)
	$(LD) -r -o $(OUT)/quern_all.o $^
	objcopy --localize-hidden $(OUT)/quern_all.o
	@rm -f $@
	$(AR) rcs $@ $(OUT)/quern_all.o

$(OUT)/libquern.so: $(LIB_OBJS)
	$(CC) -shared $(QLDFLAGS) -Wl,-soname,libquern.so.0 -o $@ $^ $(LIBS)

$(OUT)/quern: $(CLI_OBJS) $(OUT)/libquern_internal.a
	$(CC) $(QLDFLAGS) -o $@ $^ $(LIBS) $(CLI_LIBS)

# ---- tests -----------------------------------------------------------------
# Unit tests, each its own program, linked against all of the library.
TEST_HELPER_OBJS := $(TEST_HELPER_SRCS:%.c=$(OUT)/%.o)
$(OUT)/tests/%.o: QCFLAGS += -Itests
$(TEST_BINS): %: %.o $(TEST_HELPER_OBJS) $(OUT)/libquern_internal.a
	$(CC) $(QLDFLAGS) -o $@ $^ $(LIBS) $(TEST_LIBS)

.PHONY: unit
unit: $(TEST_BINS)
	@for t in $(TEST_BINS); do echo "== $$t"; $$t || exit 1; done

$(EXAMPLE_BINS): $(OUT)/%: %.c $(OUT)/libquern.a
	@mkdir -p $(@D)
	$(CC) -std=c11 -Wall -Wextra -Iinclude $(QLDFLAGS) $(CFLAGS) -o $@ $< $(OUT)/libquern.a $(LIBS)
.PHONY: examples
examples: $(EXAMPLE_BINS)

.PHONY: clean
clean:
	rm -rf $(BUILD)

-include $(shell find $(OUT) -name '*.d' 2>/dev/null)
