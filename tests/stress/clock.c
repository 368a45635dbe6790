/* Loaded before libc (LD_PRELOAD): CLOCK_REALTIME plus the seconds that the file named by CLOCK_OFFSET_FILE holds, read at each
   call. Only the wall clock jumps on real machines; the monotonic clock never does. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(clock, now);
  const char *path = getenv("CLOCK_OFFSET_FILE");
  if (result != 0 || clock != CLOCK_REALTIME || !path) return result;
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return result;
  char text[32] = {0};
  if (read(file, text, sizeof text - 1) > 0) now->tv_sec += atoll(text);
  close(file);
  return result;
}
