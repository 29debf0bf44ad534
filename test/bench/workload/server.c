/* STAND-IN, for tests only: the server. It is told what to do over a FIFO and pipes its runner's stderr to its own. */
#include "standin_ollama.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char MODEL[] = "/usr/share/ollama/.ollama/models/blobs/sha256-2af3b81862c6be03c769683af18efdadb2c33f60ff32ab6f83e42c043d6c7816";

static const char *g_executable;
static pid_t g_runner;
static int g_runner_stderr = -1;
static volatile sig_atomic_t g_stop;

static void on_stop(int signal_number) {
  (void)signal_number;
  g_stop = 1;
}

static pid_t spawn_runner(bool model, int port, int stderr_fd) {
  char port_text[16];
  snprintf(port_text, sizeof port_text, "%d", port);
  if (model)
    slog("INFO", "server.go:487", "msg=\"starting runner\" cmd=\"%s runner --ollama-engine --model %s --port %d\"", g_executable,
         MODEL, port);
  else slog("INFO", "server.go:487", "msg=\"starting runner\" cmd=\"%s runner --ollama-engine --port %d\"", g_executable, port);
  pid_t child = fork();
  if (child != 0) return child;
  signal(SIGTERM, SIG_DFL);
  dup2(stderr_fd, STDERR_FILENO);
  dup2(open("/dev/null", O_RDWR), STDIN_FILENO);
  char *discovery_args[] = {(char *)g_executable, "runner", "--ollama-engine", "--port", port_text, NULL};
  char *model_args[] = {(char *)g_executable, "runner", "--ollama-engine", "--model", (char *)MODEL, "--port", port_text, NULL};
  execv("/proc/self/exe", model ? model_args : discovery_args);
  _exit(127);
}

/* Discovery runners are mute unless OLLAMA_DEBUG=2: their stderr goes to /dev/null. */
static void discover(void) {
  const char *result = env_or("STANDIN_RESULT", "auto");
  bool trace = strcmp(env_or("OLLAMA_DEBUG", ""), "2") == 0;
  int status = 1, sink = trace ? STDERR_FILENO : open("/dev/null", O_WRONLY | O_CLOEXEC);
  slog("INFO", "runner.go:67", "msg=\"discovering available GPUs...\"");
  slog("INFO", "server.go:472", "msg=\"runner env LD_LIBRARY_PATH\" value=\"LD_LIBRARY_PATH=%s\"", env_or("LD_LIBRARY_PATH", ""));
  waitpid(spawn_runner(false, 39149, sink), &status, 0);
  if (!trace) close(sink);
  bool cuda = strcmp(result, "auto") == 0 ? WIFEXITED(status) && WEXITSTATUS(status) == 0 : strcmp(result, "CUDA") == 0;
  if (cuda)
    slog("INFO", "types.go:42", "msg=\"inference compute\" id=GPU-00000000-1400-0000-00c0-000000000000 filter_id=\"\" library=CUDA "
         "compute=9.0 name=CUDA0 description=\"HEXACORE vH100 CAP\" libdirs=cuda_v12,ollama driver=13.0 pci_id=0000:17361170:7 "
         "type=discrete total=\"80.0 GiB\" available=\"78.0 GiB\"");
  else
    slog("INFO", "types.go:60", "msg=\"inference compute\" id=cpu library=cpu compute=\"\" name=cpu description=cpu libdirs=ollama "
         "driver=\"\" pci_id=\"\" type=\"\" total=\"3.8 GiB\" available=\"3.0 GiB\"");
  slog("INFO", "routes.go:1832", "msg=\"vram-based default context\" total_vram=\"%s\" default_num_ctx=%d", cuda ? "80.0 GiB" : "0 B",
       cuda ? 262144 : 4096);
}

static void load_model(void) {
  int ends[2];
  if (g_runner > 0 || pipe2(ends, O_CLOEXEC) != 0) return;
  g_runner = spawn_runner(true, 40151, ends[1]);
  close(ends[1]);
  g_runner_stderr = ends[0];
}

static void gin_line(int code) {
  char stamp[64];
  time_t now = time(NULL);
  struct tm local;
  strftime(stamp, sizeof stamp, "%Y/%m/%d - %H:%M:%S", localtime_r(&now, &local));
  printf("[GIN] %s | %d |  1.204512345s |       127.0.0.1 | POST     \"/api/generate\"\n", stamp, code);
}

/* Copies what the runner wrote; on its end says how it ended. */
static void pump_runner(void) {
  char text[4096];
  ssize_t used = read(g_runner_stderr, text, sizeof text);
  if (used > 0) {
    if (memmem(text, (size_t)used, "standin runner: ready", 21) != NULL)
      slog("INFO", "server.go:1376", "msg=\"llama runner started in 1.27 seconds\"");
    if (write(STDERR_FILENO, text, (size_t)used) < 0) g_stop = 1;
    return;
  }
  int status = 0;
  close(g_runner_stderr);
  g_runner_stderr = -1;
  waitpid(g_runner, &status, 0);
  g_runner = 0;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  char reason[64];
  if (WIFSIGNALED(status)) {
    /* Go's words are those of the C library in lower case. */
    snprintf(reason, sizeof reason, "signal: %s%s", strsignal(WTERMSIG(status)), WCOREDUMP(status) ? " (core dumped)" : "");
    reason[sizeof "signal: " - 1] |= 0x20;
  }
  else snprintf(reason, sizeof reason, "exit status %d", WEXITSTATUS(status));
  slog("ERROR", "server.go:318", "msg=\"llama runner terminated\" error=\"%s\"", reason);
  slog("ERROR", "sched.go:575", "msg=\"error loading llama server\" error=\"llama runner process has terminated: %s\"", reason);
  gin_line(500);
}

static void obey(const char *command) {
  if (strncmp(command, "load", 4) == 0) load_model();
  if (strncmp(command, "unload", 6) == 0 && g_runner > 0) kill(g_runner, SIGTERM);
  if (strncmp(command, "generate", 8) == 0) gin_line(200);
  if (strncmp(command, "discover", 8) == 0) discover();
}

static void obey_all(int fd) {
  char text[256];
  ssize_t used = read(fd, text, sizeof text - 1);
  if (used <= 0) return;
  text[used] = '\0';
  for (char *save = NULL, *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) obey(line);
}

int run_server(const char *executable) {
  const char *control = env_or("STANDIN_CONTROL", "/run/ollama/control");
  g_executable = executable;
  struct sigaction stop = {.sa_handler = on_stop};
  sigaction(SIGTERM, &stop, NULL);
  sigaction(SIGINT, &stop, NULL);
  signal(SIGPIPE, SIG_IGN);
  if (mkfifo(control, 0600) != 0 && errno != EEXIST) fprintf(stderr, "standin server: %s: %s\n", control, strerror(errno));
  int orders = open(control, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  slog("INFO", "routes.go:1782", "msg=\"Listening on 127.0.0.1:11434 (version %s)\"", env_or("STANDIN_VERSION", "0.0.0"));
  discover();
  if (strcmp(env_or("STANDIN_AUTOLOAD", "0"), "1") == 0) load_model();
  while (!g_stop) {
    struct pollfd sources[2] = {{.fd = orders, .events = POLLIN}, {.fd = g_runner_stderr, .events = POLLIN}};
    if (poll(sources, 2, -1) < 0) continue;
    if (sources[0].revents & POLLIN) obey_all(orders);
    if (sources[1].fd >= 0 && sources[1].revents != 0) pump_runner();
  }
  if (g_runner > 0) kill(g_runner, SIGTERM);
  return 0;
}
