/*
 * Records the operations on a database file, so that the contents of the disk after a power failure
 * at any moment can be computed.
 *
 * hookbox processes load this library by LD_PRELOAD. It records every write, truncation and sync of
 * the database file and of its write-ahead log (the file that ends in -wal). From the recording the
 * files can be rebuilt as of the last sync, with none, all or some of the writes since then,
 * because the operating system promises nothing about these writes. The shared-memory file (-shm)
 * is not recorded, because SQLite recreates it.
 *
 * Several processes append to one recording. A process therefore holds a lock while it changes a
 * file and records the change. A sync runs without the lock, and makes durable only what was
 * written before it began. Its record therefore holds the length of the recording at that time.
 *
 * A record is a header, followed by the bytes of a write. Numbers are in the byte order of the
 * machine.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

/* More than the number of files that a process may have open. */
#define FILES_MAX 65536

enum { NEITHER = 0, DATABASE = 1, LOG = 2 };
enum { WRITE = 1, TRUNCATE = 2, SYNC = 3 };

struct header {
    uint32_t what;
    uint32_t file;
    /* The position of a write, the new length of a truncation, or the length of the recording
     * when a sync began. */
    uint64_t at;
    uint64_t length;
};

/* For each descriptor: which of the two files it belongs to, if any. */
static volatile unsigned char files[FILES_MAX];
static int log_file = -1;
static const char *database;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static int (*real_ftruncate)(int, off64_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);

/* Ends the process, because without a complete recording the test would show nothing. */
static void give_up(const char *why)
{
    fprintf(stderr, "cannot record the disk operations: %s: %s\n", why, strerror(errno));
    abort();
}

static void *next(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        give_up(name);
    return found;
}

__attribute__((constructor)) static void begin(void)
{
    real_open = next("open64");
    real_close = next("close");
    real_write = next("write");
    real_pwrite = next("pwrite64");
    real_ftruncate = next("ftruncate64");
    real_fsync = next("fsync");
    real_fdatasync = next("fdatasync");
    const char *path = getenv("HOOKBOX_DISK_LOG");
    database = getenv("HOOKBOX_DISK_FILE");
    if (!path || !database)
        give_up("HOOKBOX_DISK_LOG and HOOKBOX_DISK_FILE must be set");
    log_file = real_open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_file < 0)
        give_up(path);
}

static unsigned which(int descriptor)
{
    return descriptor >= 0 && descriptor < FILES_MAX ? files[descriptor] : NEITHER;
}

static void opened(int descriptor, const char *path)
{
    if (descriptor < 0 || descriptor >= FILES_MAX || !database)
        return;
    size_t length = strlen(database);
    unsigned file = NEITHER;
    if (strncmp(path, database, length) == 0) {
        if (path[length] == 0)
            file = DATABASE;
        else if (strcmp(path + length, "-wal") == 0)
            file = LOG;
    }
    files[descriptor] = file;
}

/* Keeps out other threads by the mutex, and other processes by a lock on the recording. */
static void enter(void)
{
    pthread_mutex_lock(&turn);
    while (flock(log_file, LOCK_EX) != 0)
        if (errno != EINTR)
            give_up("locking the recording");
}

static void leave(void)
{
    int kept = errno;
    flock(log_file, LOCK_UN);
    pthread_mutex_unlock(&turn);
    errno = kept;
}

static void put(const void *bytes, size_t length)
{
    const char *left = bytes;
    while (length > 0) {
        ssize_t put = real_write(log_file, left, length);
        if (put < 0 && errno != EINTR)
            give_up("writing to the recording");
        if (put > 0) {
            left += put;
            length -= put;
        }
    }
}

static void note(uint32_t what, uint32_t file, uint64_t at, const void *bytes, uint64_t length)
{
    int kept = errno;
    struct header header = { what, file, at, length };
    put(&header, sizeof header);
    if (bytes)
        put(bytes, length);
    errno = kept;
}

static uint64_t length_of_the_log(void)
{
    struct stat64 is;
    if (fstat64(log_file, &is) != 0)
        give_up("reading the length of the recording");
    return is.st_size;
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t length, off64_t at)
{
    unsigned file = which(descriptor);
    if (file == NEITHER)
        return real_pwrite(descriptor, bytes, length, at);
    enter();
    ssize_t written = real_pwrite(descriptor, bytes, length, at);
    if (written > 0)
        note(WRITE, file, at, bytes, written);
    leave();
    return written;
}

ssize_t pwrite(int descriptor, const void *bytes, size_t length, off_t at)
{
    return pwrite64(descriptor, bytes, length, at);
}

ssize_t write(int descriptor, const void *bytes, size_t length)
{
    unsigned file = which(descriptor);
    if (file == NEITHER)
        return real_write(descriptor, bytes, length);
    enter();
    off64_t at = lseek64(descriptor, 0, SEEK_CUR);
    ssize_t written = real_write(descriptor, bytes, length);
    if (written > 0)
        note(WRITE, file, at, bytes, written);
    leave();
    return written;
}

int ftruncate64(int descriptor, off64_t length)
{
    unsigned file = which(descriptor);
    if (file == NEITHER)
        return real_ftruncate(descriptor, length);
    enter();
    int done = real_ftruncate(descriptor, length);
    if (done == 0)
        note(TRUNCATE, file, length, NULL, 0);
    leave();
    return done;
}

int ftruncate(int descriptor, off_t length)
{
    return ftruncate64(descriptor, length);
}

static int synced(int descriptor, int (*real)(int))
{
    unsigned file = which(descriptor);
    if (file == NEITHER)
        return real(descriptor);
    enter();
    uint64_t before = length_of_the_log();
    leave();
    int done = real(descriptor);
    enter();
    if (done == 0)
        note(SYNC, file, before, NULL, 0);
    leave();
    return done;
}

int fsync(int descriptor)
{
    return synced(descriptor, real_fsync);
}

int fdatasync(int descriptor)
{
    return synced(descriptor, real_fdatasync);
}

static int open_it(const char *path, int flags, mode_t mode)
{
    int descriptor = real_open ? real_open(path, flags, mode)
                               : ((int (*)(const char *, int, ...))next("open64"))(path, flags, mode);
    opened(descriptor, path);
    return descriptor;
}

int open64(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return open_it(path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return open_it(path, flags, mode);
}

int close(int descriptor)
{
    if (descriptor >= 0 && descriptor < FILES_MAX)
        files[descriptor] = NEITHER;
    return real_close ? real_close(descriptor) : ((int (*)(int))next("close"))(descriptor);
}
