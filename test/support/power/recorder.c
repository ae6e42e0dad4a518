// Preloaded into a process: records what it writes to a directory, in order, so that test/support/power/power-cut.ts can rebuild
// what a power failure would leave. RECORD_ROOT: the directory. RECORD_TO: the file of records, outside of it.
//
// A record: kind (1 byte), thread (4), a (8), b (8), length (4) and that many bytes. Numbers are little-endian.
//   O inode                 bytes: path      a file was opened (or created)
//   W inode, offset         bytes: content
//   T inode, length         truncated
//   B inode / E inode                        a sync of a file or directory begins / has ended well
//   L inode, how            bytes: path      a directory entry was made by open (0), mkdir (1) or link (2)
//   R                       bytes: from NUL to
//   U                       bytes: path      unlink or rmdir
//   M                       bytes: text      a mark that the program makes by writing to the path RECORD_ROOT/.mark
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { MAX_FDS = 65536 };
static char tracked[MAX_FDS]; // 1: in the directory, 2: the mark
static uint64_t inodes[MAX_FDS];
static int out = -1;
static const char *root;
static size_t root_length;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void start(void) __attribute__((constructor));
static void start(void) {
  root = getenv("RECORD_ROOT");
  const char *to = getenv("RECORD_TO");
  if (!root || !to) return;
  root_length = strlen(root);
  out = (int)syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void put(const void *bytes, size_t length) {
  for (size_t at = 0; at < length;) {
    long n = syscall(SYS_write, out, (const char *)bytes + at, length - at);
    if (n <= 0) abort();
    at += (size_t)n;
  }
}

static void record(char kind, uint64_t a, uint64_t b, const void *bytes, uint32_t length) {
  int saved = errno;
  char head[25];
  uint32_t thread = (uint32_t)syscall(SYS_gettid);
  head[0] = kind;
  memcpy(head + 1, &thread, 4);
  memcpy(head + 5, &a, 8);
  memcpy(head + 13, &b, 8);
  memcpy(head + 21, &length, 4);
  put(head, sizeof head);
  put(bytes, length);
  errno = saved;
}

static int below(const char *path) {
  return out >= 0 && path && strncmp(path, root, root_length) == 0 && (path[root_length] == 0 || path[root_length] == '/');
}

#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)
#define TRACKED(fd) (out >= 0 && (fd) >= 0 && (fd) < MAX_FDS && tracked[fd] == 1)
#define LOCKED(what) do { pthread_mutex_lock(&lock); what; pthread_mutex_unlock(&lock); } while (0)

static int opened(int fd, const char *path, int flags, int fresh) {
  if (fd < 0 || fd >= MAX_FDS) return fd;
  int saved = errno;
  tracked[fd] = 0;
  if (below(path)) {
    struct stat s;
    if (syscall(SYS_fstat, fd, &s) == 0) {
      inodes[fd] = s.st_ino;
      tracked[fd] = strcmp(path + root_length, "/.mark") == 0 ? 2 : 1;
      if (tracked[fd] == 1) {
        pthread_mutex_lock(&lock);
        if (fresh) record('L', s.st_ino, 0, path, strlen(path));
        else record('O', s.st_ino, 0, path, strlen(path));
        if (flags & O_TRUNC) record('T', s.st_ino, 0, "", 0);
        pthread_mutex_unlock(&lock);
      }
    }
  }
  errno = saved;
  return fd;
}

static int missing(const char *path) {
  struct stat s;
  return below(path) && syscall(SYS_newfstatat, AT_FDCWD, path, &s, AT_SYMLINK_NOFOLLOW) != 0;
}

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    REAL(int, #name, const char *, int, ...); \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { va_list args; va_start(args, flags); mode = va_arg(args, mode_t); va_end(args); } \
    int fresh = (flags & O_CREAT) && missing(path); \
    return opened(real(path, flags, mode), path, flags, fresh); \
  }
OPEN(open)
OPEN(open64)

int close(int fd) {
  REAL(int, "close", int);
  if (fd >= 0 && fd < MAX_FDS) tracked[fd] = 0;
  return real(fd);
}

static void wrote(int fd, int64_t at, const void *bytes, ssize_t n) {
  if (n > 0) record('W', inodes[fd], (uint64_t)at, bytes, (uint32_t)n);
}

ssize_t write(int fd, const void *bytes, size_t length) {
  REAL(ssize_t, "write", int, const void *, size_t);
  if (out >= 0 && fd >= 0 && fd < MAX_FDS && tracked[fd] == 2) { LOCKED(record('M', 0, 0, bytes, (uint32_t)length)); return (ssize_t)length; }
  if (!TRACKED(fd)) return real(fd, bytes, length);
  ssize_t n;
  LOCKED({
    int64_t at = lseek(fd, 0, (fcntl(fd, F_GETFL) & O_APPEND) ? SEEK_END : SEEK_CUR);
    n = real(fd, bytes, length);
    wrote(fd, at, bytes, n);
  });
  return n;
}

#define PWRITE(name, offset) \
  ssize_t name(int fd, const void *bytes, size_t length, offset at) { \
    REAL(ssize_t, #name, int, const void *, size_t, offset); \
    if (out >= 0 && fd >= 0 && fd < MAX_FDS && tracked[fd] == 2) { LOCKED(record('M', 0, 0, bytes, (uint32_t)length)); return (ssize_t)length; } \
    if (!TRACKED(fd)) return real(fd, bytes, length, at); \
    ssize_t n; \
    LOCKED({ n = real(fd, bytes, length, at); wrote(fd, at, bytes, n); }); \
    return n; \
  }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

static ssize_t write_all(int fd, const struct iovec *parts, int count, int64_t at) {
  ssize_t all = 0;
  for (int i = 0; i < count; i++) {
    ssize_t n = at < 0 ? write(fd, parts[i].iov_base, parts[i].iov_len) : pwrite(fd, parts[i].iov_base, parts[i].iov_len, at + all);
    if (n < 0) return all > 0 ? all : n;
    all += n;
    if ((size_t)n < parts[i].iov_len) break;
  }
  return all;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  REAL(ssize_t, "writev", int, const struct iovec *, int);
  return TRACKED(fd) ? write_all(fd, parts, count, -1) : real(fd, parts, count);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
  REAL(ssize_t, "pwritev", int, const struct iovec *, int, off_t);
  return TRACKED(fd) ? write_all(fd, parts, count, at) : real(fd, parts, count, at);
}

#define TRUNCATE(name, offset) \
  int name(int fd, offset length) { \
    REAL(int, #name, int, offset); \
    if (!TRACKED(fd)) return real(fd, length); \
    int n; \
    LOCKED({ n = real(fd, length); if (n == 0) record('T', inodes[fd], (uint64_t)length, "", 0); }); \
    return n; \
  }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define SYNC(name) \
  int name(int fd) { \
    REAL(int, #name, int); \
    if (!TRACKED(fd)) return real(fd); \
    uint64_t inode = inodes[fd]; \
    LOCKED(record('B', inode, 0, "", 0)); \
    int n = 0; /* Nothing is lost if this machine goes on: syncing for real would only take time. */ \
    LOCKED(record('E', inode, 0, "", 0)); \
    return n; \
  }
SYNC(fsync)
SYNC(fdatasync)

static void record_pair(const char *from, const char *to) {
  char both[8192];
  size_t first = strlen(from) + 1, second = strlen(to) + 1;
  if (first + second > sizeof both) abort();
  memcpy(both, from, first);
  memcpy(both + first, to, second);
  record('R', 0, 0, both, (uint32_t)(first + second - 1));
}

int rename(const char *from, const char *to) {
  REAL(int, "rename", const char *, const char *);
  if (!below(from)) return real(from, to);
  int n;
  LOCKED({ n = real(from, to); if (n == 0) record_pair(from, to); });
  return n;
}

int link(const char *from, const char *to) {
  REAL(int, "link", const char *, const char *);
  if (!below(to)) return real(from, to);
  int n;
  struct stat s;
  LOCKED({ n = real(from, to); if (n == 0 && syscall(SYS_newfstatat, AT_FDCWD, to, &s, 0) == 0) record('L', s.st_ino, 2, to, strlen(to)); });
  return n;
}

int mkdir(const char *path, mode_t mode) {
  REAL(int, "mkdir", const char *, mode_t);
  if (!below(path)) return real(path, mode);
  int n;
  struct stat s;
  LOCKED({ n = real(path, mode); if (n == 0 && syscall(SYS_newfstatat, AT_FDCWD, path, &s, 0) == 0) record('L', s.st_ino, 1, path, strlen(path)); });
  return n;
}

#define REMOVE(name) \
  int name(const char *path) { \
    REAL(int, #name, const char *); \
    if (!below(path)) return real(path); \
    int n; \
    LOCKED({ n = real(path); if (n == 0) record('U', 0, 0, path, strlen(path)); }); \
    return n; \
  }
REMOVE(unlink)
REMOVE(rmdir)
