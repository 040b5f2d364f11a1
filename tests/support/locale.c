#include <fcntl.h>
#include <locale.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/support.h"

extern char **environ;

/* Pashto: the language whose decimal point glibc spells U+066B. */
static const char point[] = "\xD9\xAB";

/* Bare systems install no locales, but have the program that makes them; its sources may be
 * missing, then it makes none. */
static void make_locale(const char *dir) {
    const char *path = support_temp_path("ps_AF.UTF-8");
    char *const args[] = {(char *)(uintptr_t) "localedef", (char *)(uintptr_t) "-c",
                          (char *)(uintptr_t) "-i",        (char *)(uintptr_t) "ps_AF",
                          (char *)(uintptr_t) "-f",        (char *)(uintptr_t) "UTF-8",
                          (char *)(uintptr_t)path,         NULL};
    posix_spawn_file_actions_t quiet;
    assert_int_equal(posix_spawn_file_actions_init(&quiet), 0);
    for (int fd = 1; fd <= 2; fd++)
        posix_spawn_file_actions_addopen(&quiet, fd, "/dev/null", O_WRONLY, 0);
    pid_t child;
    if (posix_spawnp(&child, args[0], &quiet, NULL, args, environ) == 0)
        waitpid(child, NULL, 0);
    posix_spawn_file_actions_destroy(&quiet);
    setenv("LOCPATH", dir, 1);
}

bool support_use_foreign_point(void) {
    if (!setlocale(LC_ALL, "ps_AF.UTF-8"))
        make_locale(support_temp_dir());
    if (setlocale(LC_ALL, "ps_AF.UTF-8") && strcmp(localeconv()->decimal_point, point) == 0)
        return true;
    setlocale(LC_ALL, "C");
    print_message("skipped: there is no locale ps_AF.UTF-8 (Debian's package locales)\n");
    return false;
}
