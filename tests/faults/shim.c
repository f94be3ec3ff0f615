/* Makes chosen file operations of a program fail. Loaded into it with LD_PRELOAD.
 *
 * Counts what the program does to files below FAULTS_DIR and fails the n-th of those, once or from there on, with the
 * error that it is told. It is told through a small file (FAULTS_CONTROL) that is mapped into memory on both sides;
 * faults.rs knows the same layout.
 *
 * A write that fails has written its first half, as a disk does that is full in the middle of one.
 *
 * Not for: what the program does through a memory map, or by system calls of its own.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum mode { OFF = 0, COUNT = 1, ONCE = 2, ON = 3 };
enum kind { WRITE = 1, FLUSH = 2, OPEN = 4, NAME = 8, READ = 16 };

struct control {
    uint32_t mode;
    uint32_t n;     /* which operation, from 1 on */
    uint32_t error; /* errno */
    uint32_t kinds; /* which operations count */
    uint32_t count;
    uint32_t failed;
    char first[232]; /* what failed first */
};

#define FDS_MAX 65536
static unsigned char ours[FDS_MAX];
static struct control *control;
static char dir[4096];
static size_t dir_len;

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_CONTROL"), *below = getenv("FAULTS_DIR");
    if (!path || !below || strlen(below) >= sizeof dir)
        return;
    strcpy(dir, below);
    dir_len = strlen(dir);
    int fd = NEXT(open)(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    void *mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    NEXT(close)(fd);
    if (mapped != MAP_FAILED)
        control = mapped;
}

static int is_ours(int fd) { return fd >= 0 && fd < FDS_MAX && ours[fd]; }

static int is_below(int at, const char *path) {
    if (!path || !dir_len)
        return 0;
    if (path[0] != '/')
        return at != AT_FDCWD && is_ours(at);
    return strncmp(path, dir, dir_len) == 0 && (path[dir_len] == '/' || path[dir_len] == 0);
}

/* True when this operation is to fail; errno is set then. */
static int fails(enum kind kind, const char *what, const char *path) {
    if (!control)
        return 0;
    uint32_t mode = __atomic_load_n(&control->mode, __ATOMIC_ACQUIRE);
    if (mode == OFF || !(control->kinds & kind))
        return 0;
    uint32_t nth = __atomic_add_fetch(&control->count, 1, __ATOMIC_ACQ_REL);
    if (mode == COUNT || nth < control->n || (mode == ONCE && nth > control->n))
        return 0;
    if (__atomic_add_fetch(&control->failed, 1, __ATOMIC_ACQ_REL) == 1)
        snprintf(control->first, sizeof control->first, "%s %s", what, path);
    errno = (int)control->error;
    return 1;
}

static int fails_fd(enum kind kind, const char *what, int fd) {
    if (!is_ours(fd) || !control || __atomic_load_n(&control->mode, __ATOMIC_ACQUIRE) == OFF)
        return 0;
    int before = errno;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    errno = before;
    return fails(kind, what, path);
}

static int opened(int fd, int at, const char *path) {
    if (fd >= 0 && fd < FDS_MAX)
        ours[fd] = (unsigned char)is_below(at, path);
    return fd;
}

/* Opening to read what is there changes nothing, and counts as reading. */
static enum kind kind_of_open(int flags) {
    return (flags & (O_CREAT | O_TMPFILE)) || (flags & O_ACCMODE) != O_RDONLY ? OPEN : READ;
}

#define MODE_OF(flags, mode)                          \
    mode_t mode = 0;                                  \
    if ((flags) & (O_CREAT | O_TMPFILE)) {            \
        va_list rest;                                 \
        va_start(rest, flags);                        \
        mode = (mode_t)va_arg(rest, int);             \
        va_end(rest);                                 \
    }

#define OPEN_LIKE(name)                                                             \
    int name(const char *path, int flags, ...) {                                    \
        MODE_OF(flags, mode)                                                        \
        if (is_below(AT_FDCWD, path) && fails(kind_of_open(flags), "open", path))   \
            return -1;                                                              \
        return opened(NEXT(name)(path, flags, mode), AT_FDCWD, path);               \
    }
OPEN_LIKE(open)
OPEN_LIKE(open64)

#define OPENAT_LIKE(name)                                                   \
    int name(int at, const char *path, int flags, ...) {                    \
        MODE_OF(flags, mode)                                                \
        if (is_below(at, path) && fails(kind_of_open(flags), "open", path)) \
            return -1;                                                      \
        return opened(NEXT(name)(at, path, flags, mode), at, path);         \
    }
OPENAT_LIKE(openat)
OPENAT_LIKE(openat64)

int close(int fd) {
    if (fd >= 0 && fd < FDS_MAX)
        ours[fd] = 0;
    return NEXT(close)(fd);
}

ssize_t write(int fd, const void *bytes, size_t n) {
    if (fails_fd(WRITE, "write", fd)) {
        int error = errno;
        if (n > 1 && NEXT(write)(fd, bytes, n / 2) < 0) {
        }
        errno = error;
        return -1;
    }
    return NEXT(write)(fd, bytes, n);
}

#define PWRITE_LIKE(name, offset_t)                                     \
    ssize_t name(int fd, const void *bytes, size_t n, offset_t at) {    \
        if (fails_fd(WRITE, "pwrite", fd)) {                            \
            int error = errno;                                          \
            if (n > 1 && NEXT(name)(fd, bytes, n / 2, at) < 0) {        \
            }                                                           \
            errno = error;                                              \
            return -1;                                                  \
        }                                                               \
        return NEXT(name)(fd, bytes, n, at);                            \
    }
PWRITE_LIKE(pwrite, off_t)
PWRITE_LIKE(pwrite64, off64_t)

ssize_t writev(int fd, const struct iovec *parts, int n) {
    return fails_fd(WRITE, "writev", fd) ? -1 : NEXT(writev)(fd, parts, n);
}

#define PREAD_LIKE(name, offset_t)                                                      \
    ssize_t name(int fd, void *bytes, size_t n, offset_t at) {                          \
        return fails_fd(READ, "pread", fd) ? -1 : NEXT(name)(fd, bytes, n, at);         \
    }
PREAD_LIKE(pread, off_t)
PREAD_LIKE(pread64, off64_t)

ssize_t read(int fd, void *bytes, size_t n) {
    return fails_fd(READ, "read", fd) ? -1 : NEXT(read)(fd, bytes, n);
}

int fsync(int fd) { return fails_fd(FLUSH, "fsync", fd) ? -1 : NEXT(fsync)(fd); }
int fdatasync(int fd) { return fails_fd(FLUSH, "fdatasync", fd) ? -1 : NEXT(fdatasync)(fd); }
int ftruncate(int fd, off_t n) { return fails_fd(WRITE, "ftruncate", fd) ? -1 : NEXT(ftruncate)(fd, n); }
int ftruncate64(int fd, off64_t n) { return fails_fd(WRITE, "ftruncate", fd) ? -1 : NEXT(ftruncate64)(fd, n); }
int posix_fallocate(int fd, off_t at, off_t n) {
    return fails_fd(WRITE, "fallocate", fd) ? errno : NEXT(posix_fallocate)(fd, at, n);
}
int posix_fallocate64(int fd, off64_t at, off64_t n) {
    return fails_fd(WRITE, "fallocate", fd) ? errno : NEXT(posix_fallocate64)(fd, at, n);
}

int rename(const char *from, const char *to) {
    return is_below(AT_FDCWD, to) && fails(NAME, "rename", to) ? -1 : NEXT(rename)(from, to);
}
int renameat(int at, const char *from, int to_at, const char *to) {
    return is_below(to_at, to) && fails(NAME, "rename", to) ? -1 : NEXT(renameat)(at, from, to_at, to);
}
int link(const char *from, const char *to) {
    return is_below(AT_FDCWD, to) && fails(NAME, "link", to) ? -1 : NEXT(link)(from, to);
}
int linkat(int at, const char *from, int to_at, const char *to, int flags) {
    return is_below(to_at, to) && fails(NAME, "link", to) ? -1 : NEXT(linkat)(at, from, to_at, to, flags);
}
int unlink(const char *path) {
    return is_below(AT_FDCWD, path) && fails(NAME, "unlink", path) ? -1 : NEXT(unlink)(path);
}
int unlinkat(int at, const char *path, int flags) {
    return is_below(at, path) && fails(NAME, "unlink", path) ? -1 : NEXT(unlinkat)(at, path, flags);
}
int rmdir(const char *path) {
    return is_below(AT_FDCWD, path) && fails(NAME, "rmdir", path) ? -1 : NEXT(rmdir)(path);
}
int mkdir(const char *path, mode_t mode) {
    return is_below(AT_FDCWD, path) && fails(NAME, "mkdir", path) ? -1 : NEXT(mkdir)(path, mode);
}
int mkdirat(int at, const char *path, mode_t mode) {
    return is_below(at, path) && fails(NAME, "mkdir", path) ? -1 : NEXT(mkdirat)(at, path, mode);
}
