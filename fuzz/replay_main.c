/* replay_main.c - runs a fuzz target over files instead of under libFuzzer, so that the
 * corpora are part of the ordinary tests with any compiler.
 *
 *     replay_NAME PATH...
 *
 * A directory stands for the files in it. Each file is also replayed cut in half and empty
 * input is always tried. Exits 0 when the target survived everything. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned n_inputs;

/* The target gets a block of exactly its size, so that reading past the end is noticed. */
static void run_input(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) {
        fprintf(stderr, "out of memory\n");
        exit(2);
    }
    if (size)
        memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    n_inputs++;
}

static void run_file(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(2);
    }
    uint8_t *data = NULL;
    size_t size = 0, capacity = 0;
    do {
        if (size == capacity) {
            capacity = capacity ? 2 * capacity : 1 << 16;
            uint8_t *grown = realloc(data, capacity);
            if (!grown) {
                fprintf(stderr, "%s: out of memory\n", path);
                exit(2);
            }
            data = grown;
        }
        size += fread(data + size, 1, capacity - size, f);
    } while (!feof(f) && !ferror(f));
    fclose(f);
    /* Named before it runs: the last line before a crash is the culprit. */
    printf("%s (%zu bytes)\n", path, size);
    fflush(stdout);
    run_input(data, size);
    run_input(data, size / 2);
    free(data);
}

static int compare_names(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void run_path(const char *path) {
    struct stat st;
    if (stat(path, &st)) {
        perror(path);
        exit(2);
    }
    if (!S_ISDIR(st.st_mode)) {
        run_file(path);
        return;
    }
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, compare_names);
    if (n < 0) {
        perror(path);
        exit(2);
    }
    for (int i = 0; i < n; i++) {
        char file[4096];
        int len = snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.' && len > 0 && (size_t)len < sizeof file)
            run_path(file);
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv) {
    run_input((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++)
        run_path(argv[i]);
    printf("%u inputs\n", n_inputs);
    return 0;
}
