/* Preloaded into a server: fdatasync fails with EIO on segments of the log while the file named by
   IMFLOW_TEST_SYNC_FAILS exists. What a broken disk or cable does, without one. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int fdatasync(int fd) {
    const char *trigger = getenv("IMFLOW_TEST_SYNC_FAILS");
    if (trigger && access(trigger, F_OK) == 0) {
        char link[64], path[PATH_MAX];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, path, sizeof path - 1);
        path[length > 0 ? length : 0] = 0;
        if (strstr(path, ".seg")) {
            errno = EIO;
            return -1;
        }
    }
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    return real(fd);
}
