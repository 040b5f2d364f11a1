#!/bin/bash
# install-deps.sh [build|test|dev] - installs what is missing, and nothing else.
#   build  what `make` needs
#   test   what `make test` needs (the default)
#   dev    that, clang for the fuzzers, clang-format and clang-tidy, and what tests ARM's kernels
# Debian and Ubuntu, as root or with sudo. Elsewhere it says what is missing and exits 1.
set -u
level=${1:-test}
python=${PYTHON:-/usr/bin/python3}

missing=() reasons=()
need() { # need PACKAGE WHAT COMMAND...: the package is missing when the command fails
    local package=$1 what=$2
    shift 2
    if ! "$@" >/dev/null 2>&1; then
        missing+=("$package")
        reasons+=("$what")
    fi
}
has_command() { command -v "$1"; }
has_library() { command -v pkg-config && pkg-config --exists "$1"; }
has_module() {
    "$python" -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec(sys.argv[1]))' "$1"
}
can_compile() { echo '#include <stdio.h>' | ${CC:-cc} -E -; }
can_sanitize() { echo 'int main(void){return 0;}' | gcc -fsanitize=address,undefined -xc - -o /dev/null; }
can_fuzz() {
    echo '#include <stddef.h>
int LLVMFuzzerTestOneInput(const unsigned char *d, size_t n){(void)d;(void)n;return 0;}' |
        clang -fsanitize=fuzzer,address -xc - -o /dev/null
}

need_build() {
    need gcc "a C11 compiler (gcc 12 or later, or clang)" has_command "${CC:-cc}"
    need libc6-dev "the C library's headers" can_compile
    need make "GNU make" has_command make
    need binutils "objcopy" has_command objcopy
    need pkg-config "pkg-config" has_command pkg-config
    need libjansson-dev "jansson, for JSON" has_library jansson
    need libutf8proc-dev "utf8proc, for Unicode" has_library libutf8proc
    need libpcre2-dev "PCRE2, for regular expressions" has_library libpcre2-8
    need libedit-dev "libedit, for line editing" has_library libedit
    need libmicrohttpd-dev "libmicrohttpd, for quern serve" has_library libmicrohttpd
    need libinih-dev "inih, for configuration files" has_library inih
    need libcurl4-openssl-dev "libcurl, for MCP servers reached by HTTP" has_library libcurl
}
need_test() {
    need gcc "gcc with its sanitizers" can_sanitize
    need libcmocka-dev "cmocka, for unit tests" has_library cmocka
    need python3 "Python 3" has_command "$python"
    need python3-numpy "NumPy for $python" has_module numpy
    need python3-pytest "pytest for $python" has_module pytest
    need python3-jsonschema "jsonschema for $python, to read what grammars make" has_module jsonschema
    need python3-lxml "lxml for $python, likewise" has_module lxml
    need python3-yaml "PyYAML for $python, likewise" has_module yaml
}
need_dev() {
    need clang "clang" has_command clang
    need libclang-rt-dev "clang's libFuzzer and sanitizers" can_fuzz
    need clang-format "clang-format" has_command clang-format
    need clang-tidy "clang-tidy" has_command clang-tidy
    need gcc-aarch64-linux-gnu "the cross compiler for ARM's kernels" has_command aarch64-linux-gnu-gcc
    need libc6-dev-arm64-cross "its C library" test -e /usr/aarch64-linux-gnu/lib/libc.a
    need qemu-user-static "qemu, to run them" has_command qemu-aarch64-static
}

case $level in
    build) need_build ;;
    test) need_build; need_test ;;
    dev) need_build; need_test; need_dev ;;
    *) echo "usage: scripts/install-deps.sh [build|test|dev]" >&2; exit 2 ;;
esac
[ ${#missing[@]} -eq 0 ] && exit 0

tell() {
    echo "$1" >&2
    for i in "${!missing[@]}"; do
        printf '  %-18s %s\n' "${missing[i]}" "${reasons[i]}" >&2
    done
}
if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    tell "Please install these (named as Debian names them), then try again:"
    exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        tell "These packages are missing and installing them needs root or sudo:"
        exit 1
    fi
    as_root=(sudo)
fi

mapfile -t packages < <(printf '%s\n' "${missing[@]}" | sort -u)
echo "Installing ${packages[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
    "${as_root[@]}" apt-get update -qq &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq -o DPkg::Lock::Timeout=300 --no-install-recommends "${packages[@]}"
}
if ! install >"$log" 2>&1; then
    cat "$log" >&2
    tell "These packages could not be installed:"
    exit 1
fi
