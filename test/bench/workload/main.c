/* STAND-IN, for tests only: `ollama serve` and `ollama runner`. */
#include "standin_ollama.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const char *env_or(const char *name, const char *otherwise) {
  const char *value = getenv(name);
  return value != NULL ? value : otherwise;
}

void slog(const char *level, const char *source, const char *format, ...) {
  char text[2048], stamp[64], zone[16];
  struct timespec now;
  struct tm local;
  va_list args;
  clock_gettime(CLOCK_REALTIME, &now);
  localtime_r(&now.tv_sec, &local);
  strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &local);
  strftime(zone, sizeof zone, "%z", &local);
  if (strcmp(zone, "+0000") == 0) strcpy(zone, "Z");
  else if (strlen(zone) == 5) {
    memmove(zone + 4, zone + 3, 3);
    zone[3] = ':';
  }
  int used = snprintf(text, sizeof text, "time=%s.%03ld%s level=%s source=%s ", stamp, now.tv_nsec / 1000000, zone, level, source);
  va_start(args, format);
  int length = vsnprintf(text + used, sizeof text - (size_t)used - 1, format, args);
  va_end(args);
  used += length < (int)sizeof text - used - 1 ? length : (int)sizeof text - used - 2;
  text[used++] = '\n';
  if (write(STDERR_FILENO, text, (size_t)used) < 0) return;
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (argc >= 2 && strcmp(argv[1], "runner") == 0) return run_runner(argc, argv);
  if (argc >= 2 && strcmp(argv[1], "serve") == 0) return run_server(argv[0]);
  fprintf(stderr, "usage: %s serve\n", argv[0]);
  return 2;
}
