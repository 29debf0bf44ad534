/* STAND-IN, for tests only: log lines and state files in the shim's formats (docs/wire.md, "State files"). */
#include "standin.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static size_t format_text(char *text, size_t size, const char *format, va_list args) {
  int length = vsnprintf(text, size - 1, format, args);
  if (length < 0) return 0;
  size_t used = (size_t)length < size - 2 ? (size_t)length : size - 2;
  text[used++] = '\n';
  return used;
}

void log_line(const char *format, ...) {
  char text[1024];
  va_list args;
  va_start(args, format);
  size_t used = format_text(text, sizeof text, format, args);
  va_end(args);
  if (write(STDERR_FILENO, text, used) < 0) return;
}

bool debug_on(void) { return getenv("VGPU_DEBUG") != NULL; }

static void put(const char *path, int flags, const char *text, size_t used) {
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644);
  if (fd < 0) return;
  if (write(fd, text, used) < 0) unlink(path);
  close(fd);
}

void write_state(const char *path, const char *format, ...) {
  char text[512];
  va_list args;
  va_start(args, format);
  size_t used = format_text(text, sizeof text, format, args);
  va_end(args);
  put(path, O_TRUNC, text, used);
}

void append_state(const char *path, const char *format, ...) {
  char text[512];
  va_list args;
  va_start(args, format);
  size_t used = format_text(text, sizeof text, format, args);
  va_end(args);
  put(path, O_APPEND, text, used);
}

void checkpoint(const char *phase) {
  write_state("/tmp/vgpu_checkpoint", "VGPU_CHECKPOINT|%ld|%s", (long)time(NULL), phase);
}

void last_error(const char *code, uint32_t call_id, uint32_t error, const char *detail) {
  write_state("/tmp/vgpu_last_error", "VGPU_ERR|%ld|%s|0x%04x|0x%08x|%s", (long)time(NULL), code, call_id, error, detail);
}
