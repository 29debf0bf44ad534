/*
 * STAND-IN, for tests only. Not Ollama: a program with the outside that the doctor sees (argv, process tree, pipes,
 * log lines) so that a bench can run it under a unit. Lines: docs/wire.md, "Lines of Ollama".
 */
#ifndef STANDIN_OLLAMA_H
#define STANDIN_OLLAMA_H

#include <stdbool.h>

/* One slog line to stderr: time, level, source, then the text as given. */
__attribute__((format(printf, 3, 4))) void slog(const char *level, const char *source, const char *format, ...);
/* `ollama runner …`: model runner with --model, discovery runner without. Returns the exit code. */
int run_runner(int argc, char **argv);
/* `ollama serve`. Returns the exit code. */
int run_server(const char *executable);
const char *env_or(const char *name, const char *otherwise);

#endif
