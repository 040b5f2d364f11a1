#!/usr/bin/env python3
"""Checks what the compiler does not: who includes whom, where instruction sets and the
operating system may appear, banned functions, sizes, names.

    check_source.py [--root DIR] [--results FILE]
    check_source.py --self-test      the checks must find every fault of the samples
"""
import argparse
import json
import os
import re
import sys
import tempfile

# ---- the rules --------------------------------------------------------------

# A layer may include itself and these. Order: from the ground up.
LAYERS = {
    "base": "",
    "text": "base",
    "quant": "base",
    "formats": "base text quant",
    "tokenizer": "base text",
    "kernels": "base quant",
    "device": "base quant kernels",
    "model": "base formats quant kernels device",
    "sampler": "base kernels",
    "grammar": "base text tokenizer sampler",
    "chat": "base text tokenizer",
    "engine": "base tokenizer device model sampler",
    "train": "base text quant formats tokenizer kernels device model chat",
    "api": "base text quant formats tokenizer kernels device model sampler grammar chat engine train",
    "openai": "base text tokenizer model sampler grammar chat engine api",
    "mcp": "base text",
    "tools": "base text grammar mcp",
    "server": "base text tokenizer engine api openai tools",
    "cli": "base text quant formats tokenizer kernels device model sampler grammar chat engine train api openai "
           "server mcp tools",
}

# Who may include the public header: base/error.h takes its error codes; the rest is for those
# who implement or use the public interface.
PUBLIC_HEADER = "quern.h"

MAX_FUNCTION_LINES = 80
MAX_FILE_LINES = 600
MAX_COLUMNS = 120  # clang-format aims at 100; comments beside shapes may run over

# Files that may be longer, and why.
LONG_FILES = {
    "src/text/unicode_tables.c": "tables, made by scripts/make_unicode_tables.py",
}

ISA = re.compile(
    r"\b(?:[a-z]mmintrin\.h|immintrin\.h|x86intrin\.h|cpuid\.h|arm_neon\.h|arm_sve\.h|"
    r"__(?:AVX|SSE|FMA|F16C|ARM_|BMI)\w*|__x86_64__|__i386__|__aarch64__|"
    r"_mm(?:256|512)?_\w+|__m(?:128|256|512)\w*|__builtin_ia32_\w+|__builtin_cpu_\w+)")
ISA_ALLOWED = {
    "src/base/threads.c": "the pause instruction of a spinning wait",
    "src/base/vector_clones.h": "asks the compiler for several versions of a loop, names no instruction",
}

OS_HEADERS = re.compile(
    r"^(?:unistd|fcntl|pthread|sched|signal|dirent|termios|poll|spawn|dlfcn|syslog|pwd|"
    r"windows|io|ftw|glob|netdb|sys/.*|netinet/.*|arpa/.*|linux/.*|mach/.*)(?:\.h)?$")
OS_CONDITIONS = re.compile(
    r"\b(?:__linux__|__linux|__APPLE__|_WIN32|_WIN64|__unix__|__FreeBSD__|__OpenBSD__|"
    r"__NetBSD__|__ANDROID__|__GLIBC__)\b")
OS_ALLOWED = {
    "src/base/os.c": "the operating system's place",
    "src/base/threads.c": "threads are the operating system's",
    "src/base/sync.c": "so are locks and single threads",
    "src/base/net.c": "sockets are the operating system's",
    "src/base/process.c": "so are other programs",
    "src/base/data_file.c": "positions in files, directories",
    "src/base/file_writer.c": "flushing to the disk is the operating system's",
    "src/base/pages.c": "zeroed pages straight from the operating system",
    "src/base/vector_clones.h": "which dynamic linker chooses between versions of a function",
}
# Single headers elsewhere, and why.
OS_HEADERS_ALLOWED = {
    ("src/base", "pthread.h"): "a lock where no pool is",
    ("src/cli", "signal.h"): "Ctrl-C belongs to the program",
    ("src/cli", "unistd.h"): "standard streams",
    ("src/cli", "fcntl.h"): "standard streams",
}

BANNED_EVERYWHERE = ("strcpy strcat stpcpy sprintf vsprintf gets strtok atoi atol atoll atof "
                     "alloca system popen rand srand random drand48 setjmp longjmp tmpnam "
                     "mktemp strtod strtof strtold localeconv").split()
BANNED_IN_LIBRARY = ("exit abort _exit quick_exit printf vprintf fprintf vfprintf puts fputs "
                     "putchar putc fputc perror getenv").split()
BANNED_ALLOWED = {
    ("src/base/number.c", "strtod"): "there in the C locale: elsewhere the caller's decides",
    ("tests/support/locale.c", "localeconv"): "to see that the locale is the one wanted",
    ("src/tools/tool_set.c", "getenv"): "variables that an operator's file of servers names",
    ("src/base/log.c", "fprintf"): "the log is what writes to stderr",
}


# ---- reading C --------------------------------------------------------------

def strip_comments(text, keep_strings=False):
    """The text with comments (and the inside of literals) blanked; lines stay."""
    token = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)

    def blank(m):
        s = m.group(0)
        if s[0] in "\"'":
            return s if keep_strings else s[0] + " " * (len(s) - 2) + s[0]
        return re.sub(r"[^\n]", " ", s)

    return token.sub(blank, text)


def strip_preprocessor(text):
    return re.sub(r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", lambda m: re.sub(r"[^\n]", " ", m.group(0)),
                  text, flags=re.M)


def functions(code):
    """(first line, last line, name) of every function defined in comment-free code."""
    depth, start, line, found = 0, 0, 1, []
    for i, c in enumerate(code):
        if c == "\n":
            line += 1
        elif c == "{":
            if depth == 0:
                head = code[start:i]
                m = re.search(r"(\w+)\s*\(.*\)\s*(?:\w+\s*)?$", head, re.S)
                is_function = bool(m) and "=" not in head
                name = m.group(1) if m else ""
                blank = len(head) - len(head.lstrip())
                first = code.count("\n", 0, start + blank) + 1
            depth += 1
        elif c == "}":
            depth -= 1
            if depth == 0:
                if is_function:
                    found.append((first, line, name))
                start = i + 1
        elif c == ";" and depth == 0:
            start = i + 1
    return found


# ---- the checks -------------------------------------------------------------

class Source:
    def __init__(self, root, path):
        self.root, self.path = root, path
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as f:
            self.text = f.read()
        self.lines = self.text.splitlines()
        self.with_strings = strip_comments(self.text, keep_strings=True)
        self.code = strip_comments(self.text)
        parts = path.split("/")
        self.layer = parts[1] if parts[0] == "src" and len(parts) > 2 else None
        self.faults = []

    def fault(self, line, rule, message):
        self.faults.append((self.path, line, rule, message))

    def includes(self):
        for m in re.finditer(r"^[ \t]*#[ \t]*include[ \t]*([<\"])([^>\"]+)[>\"]",
                             self.with_strings, re.M):
            yield self.with_strings.count("\n", 0, m.start()) + 1, m.group(1), m.group(2)

    def find(self, pattern, text=None):
        text = self.code if text is None else text
        for m in pattern.finditer(text):
            yield text.count("\n", 0, m.start()) + 1, m.group(0)


def check_includes(s):
    if s.layer not in LAYERS:
        s.fault(1, "layer", "is in no known layer (tests/checks/check_source.py lists them)")
        return
    allowed = set(LAYERS[s.layer].split()) | {s.layer}
    for line, quote, name in s.includes():
        if quote == "<":
            if os.path.exists(os.path.join(s.root, "src", name)):
                s.fault(line, "include", f"<{name}> is ours: use quotes")
            continue
        if name == PUBLIC_HEADER:
            continue
        if "/" not in name or ".." in name or not os.path.exists(
                os.path.join(s.root, "src", name)):
            s.fault(line, "include", f"\"{name}\": expected \"layer/file.h\"")
        elif name.split("/")[0] not in allowed:
            s.fault(line, "include", f"{s.layer} may not include \"{name}\" "
                                     f"(it may: {LAYERS[s.layer] or 'nothing'})")


def check_isa(s):
    if s.layer == "kernels" or s.path in ISA_ALLOWED:
        return
    for line, what in s.find(ISA):
        s.fault(line, "isa", f"{what} belongs to src/kernels")


def check_os(s):
    if s.path in OS_ALLOWED:
        return
    for line, quote, name in s.includes():
        allowed = any(s.path.startswith(d + "/") and name == h for d, h in OS_HEADERS_ALLOWED)
        if quote == "<" and OS_HEADERS.match(name) and not allowed:
            s.fault(line, "os", f"<{name}> belongs to src/base/os.c or threads.c")
    for line, what in s.find(OS_CONDITIONS):
        s.fault(line, "os", f"{what} belongs to src/base/os.c")


def check_banned(s, names):
    pattern = re.compile(r"(?<![\w.>])(?:" + "|".join(names) + r")(?=\s*\()")
    code = strip_preprocessor(s.code) if s.path.endswith(".h") else s.code
    for line, what in s.find(pattern, code):
        if (s.path, what) not in BANNED_ALLOWED:
            s.fault(line, "banned", f"{what}() is banned here")


def check_sizes(s):
    if len(s.lines) > MAX_FILE_LINES and s.path not in LONG_FILES:
        s.fault(len(s.lines), "file-size",
                f"{len(s.lines)} lines, at most {MAX_FILE_LINES}")
    if s.layer:
        for first, last, name in functions(strip_preprocessor(s.code)):
            if last - first + 1 > MAX_FUNCTION_LINES:
                s.fault(first, "function-size", f"{name}() has {last - first + 1} lines, "
                                                f"at most {MAX_FUNCTION_LINES}")


def check_text(s):
    for i, line in enumerate(s.lines, 1):
        if len(line) > MAX_COLUMNS and s.path not in LONG_FILES:
            s.fault(i, "columns", f"{len(line)} columns, at most {MAX_COLUMNS}")
        if "\t" in line or line != line.rstrip():
            s.fault(i, "blanks", "tab or trailing blank")


def check_names(paths):
    seen = {}
    for path in paths:
        name = os.path.basename(path)
        if name in seen:
            yield path, 1, "name", f"there is {seen[name]} already: base names are unique"
        seen.setdefault(name, path)


def source_paths(root, *folders):
    found = []
    for folder in folders:
        for dir_path, _, names in os.walk(os.path.join(root, folder)):
            found += [os.path.relpath(os.path.join(dir_path, n), root)
                      for n in names if n.endswith((".c", ".h"))]
    return sorted(found)


def check_tree(root):
    faults = []
    product = source_paths(root, "src", "include")
    for path in product:
        s = Source(root, path)
        if path.startswith("src/"):
            check_includes(s)
        check_isa(s)
        check_os(s)
        check_banned(s, BANNED_EVERYWHERE + ([] if s.layer == "cli" else BANNED_IN_LIBRARY))
        check_sizes(s)
        check_text(s)
        faults += s.faults
    for path in source_paths(root, "tests", "fuzz", "examples", "bench"):
        s = Source(root, path)
        check_banned(s, BANNED_EVERYWHERE)
        check_sizes(s)
        check_text(s)
        faults += s.faults
    faults += check_names(product)
    for path in LONG_FILES:
        if root == "." and not os.path.exists(path):
            faults.append((path, 1, "file-size", "is listed as long but does not exist"))
    return faults


# ---- self-test ----------------------------------------------------------------

SAMPLES = [
    # path, text, the rule it breaks (None: it breaks none)
    ("src/base/ok.h", "/* strcpy(a, b) and __AVX2__ in a comment are fine */\nint f(void);\n", None),
    ("src/base/ok.c", '#include "base/ok.h"\nconst char *s = "exit(1) // no \\" system(x)";\n'
                      "int f(void) {\n    return 0;\n}\n", None),
    ("src/text/up.h", '#include "base/ok.h"\n', None),
    ("src/base/down.c", '#include "text/up.h"\n', "include"),
    ("src/engine/grammar.c", '#include "chat/x.h"\n', "include"),
    ("src/chat/x.h", "", None),
    ("src/text/bare.c", '#include "up.h"\n', "include"),
    ("src/text/dots.c", '#include "../base/ok.h"\n', "include"),
    ("src/text/angle.c", "#include <base/ok.h>\n", "include"),
    ("src/nowhere/a.c", "int x;\n", "layer"),
    ("src/model/simd.c", "#include <immintrin.h>\n", "isa"),
    ("src/model/macro.c", "#ifdef __AVX512F__\n#endif\n", "isa"),
    ("src/model/intrinsic.c", "void g(void) {\n    _mm256_zeroupper();\n}\n", "isa"),
    ("src/kernels/avx2/fine.c", "#include <immintrin.h>\n", None),
    ("src/text/posix.c", "#include <unistd.h>\n", "os"),
    ("src/text/sys.c", "#include <sys/stat.h>\n", "os"),
    ("src/text/linux.c", "#ifdef __linux__\n#endif\n", "os"),
    ("src/cli/ctrl_c.c", "#include <signal.h>\n", None),
    ("src/text/copy.c", "void h(char *a) {\n    strcpy(a, a);\n}\n", "banned"),
    ("src/text/quit.c", "void q(void) {\n    exit (1);\n}\n", "banned"),
    ("src/text/print.c", 'void p(void) {\n    printf("x");\n}\n', "banned"),
    ("src/cli/print_cli.c", 'void pc(void) {\n    printf("x");\n}\n', None),
    ("src/text/member.c", "void m(struct x *p) {\n    p->system(1);\n    p.exit(2);\n}\n", None),
    ("tests/unit/bad.c", "int b(void) {\n    return atoi(\"1\");\n}\n", "banned"),
    ("src/text/eighty.c", "int e(void) {\n" + "    ;\n" * 78 + "}\n", None),
    ("src/text/eighty_one.c", "static int\ne(void) {\n" + "    ;\n" * 78 + "}\n", "function-size"),
    ("src/text/braces.c", "struct s {\n" + "    int x;\n" * 90 + "};\nint t[] = {\n" +
     "    1,\n" * 90 + "};\n", None),
    ("src/text/long.c", "int x;\n" * 601, "file-size"),
    ("src/text/wide.c", "/* " + "x" * 120 + " */\n", "columns"),
    ("src/text/tab.c", "\tint x;\n", "blanks"),
    ("src/text/same.c", "int x;\n", None),
    ("src/tokenizer/same.c", "int x;\n", "name"),
]


def self_test():
    with tempfile.TemporaryDirectory() as root:
        for path, text, _ in SAMPLES:
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            with open(os.path.join(root, path), "w") as f:
                f.write(text)
        rules = {}
        for path, _, rule, _ in check_tree(root):
            rules.setdefault(path, set()).add(rule)
    wrong = [(path, rule, rules.get(path, set())) for path, _, rule in SAMPLES
             if rules.get(path, set()) != ({rule} if rule else set())]
    for path, rule, got in wrong:
        print(f"self-test: {path}: expected {rule}, found {sorted(got) or 'nothing'}")
    return 1 if wrong else 0


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--root", default=".")
    p.add_argument("--results")
    p.add_argument("--self-test", action="store_true")
    a = p.parse_args()
    if a.self_test:
        sys.exit(self_test())
    faults = check_tree(a.root)
    for path, line, rule, message in sorted(faults):
        print(f"{path}:{line}: [{rule}] {message}")
    print(f"source checks: {len(faults)} faults")
    if a.results:
        with open(a.results, "w") as f:
            json.dump({"passed": int(not faults), "failed": len(faults), "skipped": 0}, f)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
