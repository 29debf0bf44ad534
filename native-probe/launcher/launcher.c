/*
 * /usr/bin/vgpu-agent: starts the agent's own Node with the agent, so that no library that the loader was told to
 * preload gets in: with a shim preloaded Node does not start at all, and what it read would be the shim's word.
 *
 * Statically linked: nothing is preloaded into this program. It removes the variables that put code into a process,
 * covers /etc/ld.so.preload in a mount namespace of its own when that file names anything, says in variables of its own
 * what it did, and becomes Node: same process, same descriptors, same signals, Node's exit code.
 *
 * It trusts neither PATH nor the environment: all paths follow from where this program itself lies. It is not meant to
 * be setuid. Decision 21 has the reasons.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

extern char **environ;

/* The program's own words for its exit codes: no verdict could be reached; it cannot be used like this. */
enum { NO_VERDICT = 1, NOT_USABLE = 2 };

#define PRELOAD_FILE "/etc/ld.so.preload"
/* Read at most; a file that goes on is taken to name something. */
#define PRELOAD_MAX 65536
/* What stands in for the file: the loader reads nothing from it, and nothing has to be written to any disk. */
#define EMPTY_FILE "/dev/null"
/* Started with this set, what the file names stays: for a library in it that is known to be harmless. */
#define KEEP_VARIABLE "VGPU_AGENT_KEEP_PRELOAD"

/* Everything that begins with this is ours: what a caller set is dropped. */
#define OWN_PREFIX "VGPU_AGENT_LAUNCHER_"
/* Names of the variables that were removed, with commas between them; empty when none was. */
#define REMOVED_VARIABLE OWN_PREFIX "REMOVED="
/* Descriptor of the covered file, open for reading. */
#define FD_VARIABLE OWN_PREFIX "PRELOAD_FD="

/* Of a removed value as much is passed on as these hold. */
#define VALUE_MAX 1024
#define NAMES_MAX 1024
#define NAME_MAX_SHOWN 64
#define NODE "/lib/vgpu-agent/node/bin/node"
#define PROGRAM "/lib/vgpu-agent/bin/vgpu-agent.js"

/*
 * Flags of V8 for a command. The one that stays collects earlier and so keeps less, and compiles what is hot alone;
 * malloc(3) gives back what is large (docs/decisions/0027-agent-cost.md). A log is read while log-scan has the
 * processors: one thread beside V8's own, and room, so that it need not collect (0019). bin/vgpu-agent has the same.
 */
#define SERVICE "run"
static const struct {
	const char *command;
	/* Up to the first NULL. */
	char *flags[4];
} FLAGS[] = {
	{SERVICE, {"--max-semi-space-size=2", "--optimize-for-size", "--no-sparkplug", "--no-maglev"}},
	{"match", {"--v8-pool-size=1", "--min-semi-space-size=16"}},
};
static const char *const SERVICE_VARIABLES[][2] = {{"MALLOC_ARENA_MAX", "2"}, {"MALLOC_MMAP_THRESHOLD_", "65536"}};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/*
 * What puts code into a process, or makes the loader, Node or its OpenSSL do something else than run the program:
 * ld.so(8) for LD_ (LD_TRACE_LOADED_OBJECTS only lists libraries, LD_DEBUG_OUTPUT and LD_PROFILE write files),
 * GLIBC_TUNABLES; iconv(3) for GCONV_PATH; node(1) for NODE_ (NODE_OPTIONS, NODE_PATH; NODE_TLS_REJECT_UNAUTHORIZED
 * would switch off the check of certificates); OpenSSL's config(5) for OPENSSL_ (OPENSSL_CONF, OPENSSL_MODULES).
 */
static const char *const UNWANTED_PREFIXES[] = {"LD_", "NODE_", "OPENSSL_"};
static const char *const UNWANTED_NAMES[] = {"GLIBC_TUNABLES", "GCONV_PATH"};

/* Values that are lists of files or directories: they are passed on. Others could hold anything, and are not. */
static struct passed_on {
	const char *name;
	char text[sizeof OWN_PREFIX "LD_LIBRARY_PATH=" + VALUE_MAX];
} passed_on[] = {{.name = "LD_PRELOAD"}, {.name = "LD_AUDIT"}, {.name = "LD_LIBRARY_PATH"}};

static char removed[sizeof REMOVED_VARIABLE + NAMES_MAX] = REMOVED_VARIABLE;
static char preload_fd[sizeof FD_VARIABLE + 12];

/* Says in one write what happened and what to do, and ends. The strings are joined; the last one is NULL. */
__attribute__((sentinel)) static _Noreturn void fail(int code, ...)
{
	struct iovec parts[16] = {{.iov_base = (char[]){"vgpu-agent: "}, .iov_len = strlen("vgpu-agent: ")}};
	int count = 1;
	va_list rest;
	va_start(rest, code);
	for (char *text = va_arg(rest, char *); text != NULL && count < 15; text = va_arg(rest, char *))
		parts[count++] = (struct iovec){.iov_base = text, .iov_len = strlen(text)};
	va_end(rest);
	parts[count++] = (struct iovec){.iov_base = (char[]){"\n"}, .iov_len = 1};
	/* Nobody is left to tell when stderr does not take it: the exit code does. */
	ssize_t written = writev(STDERR_FILENO, parts, count);
	(void)written;
	_exit(code);
}

/* Appends at most `length` bytes of `more` to a string in a buffer of `size` bytes. */
static void append(char *text, size_t size, const char *more, size_t length)
{
	size_t used = strlen(text);
	if (length > size - used - 1)
		length = size - used - 1;
	memcpy(text + used, more, length);
	text[used + length] = '\0';
}

static bool begins_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Whether an entry of the environment is that of the variable `name`. */
static bool is_variable(const char *entry, const char *name)
{
	return begins_with(entry, name) && entry[strlen(name)] == '=';
}

static bool is_unwanted(const char *entry)
{
	for (size_t i = 0; i < COUNT(UNWANTED_PREFIXES); i++)
		if (begins_with(entry, UNWANTED_PREFIXES[i]))
			return true;
	for (size_t i = 0; i < COUNT(UNWANTED_NAMES); i++)
		if (is_variable(entry, UNWANTED_NAMES[i]))
			return true;
	return false;
}

/* Notes what is removed: the name while there is room, and the value when it is one of those that are passed on. */
static void note_removed(const char *entry)
{
	size_t length = strcspn(entry, "=");
	size_t room = sizeof removed - strlen(removed) - 1;
	/* A name with a comma in it would read as two; none that means anything has one. */
	if (length <= NAME_MAX_SHOWN && length < room && memchr(entry, ',', length) == NULL) {
		if (strlen(removed) > strlen(REMOVED_VARIABLE))
			append(removed, sizeof removed, ",", 1);
		append(removed, sizeof removed, entry, length);
	}
	for (size_t i = 0; i < COUNT(passed_on); i++) {
		struct passed_on *one = &passed_on[i];
		if (!is_variable(entry, one->name) || one->text[0] != '\0')
			continue;
		append(one->text, sizeof one->text, OWN_PREFIX, strlen(OWN_PREFIX));
		append(one->text, sizeof one->text, entry, length + 1);
		append(one->text, sizeof one->text, entry + length + 1, strnlen(entry + length + 1, VALUE_MAX));
	}
}

/* The environment for Node: the caller's without what is unwanted, and what there is to say about it. */
static char **clean_environment(void)
{
	size_t count = 0;
	while (environ[count] != NULL)
		count++;
	char **clean = calloc(count + COUNT(passed_on) + 3, sizeof *clean);
	if (clean == NULL)
		fail(NO_VERDICT, "no memory for the environment.", NULL);
	size_t used = 0;
	for (size_t i = 0; i < count; i++) {
		if (begins_with(environ[i], OWN_PREFIX))
			continue;
		if (is_unwanted(environ[i]))
			note_removed(environ[i]);
		else
			clean[used++] = environ[i];
	}
	clean[used++] = removed;
	for (size_t i = 0; i < COUNT(passed_on); i++)
		if (passed_on[i].text[0] != '\0')
			clean[used++] = passed_on[i].text;
	if (preload_fd[0] != '\0')
		clean[used++] = preload_fd;
	return clean;
}

/* Whether text as in /etc/ld.so.preload names a library: names are separated as glibc does it, "#" begins a comment. */
static bool names_anything(const char *text, size_t length)
{
	bool comment = false;
	for (size_t i = 0; i < length; i++) {
		if (text[i] == '\n')
			comment = false;
		else if (text[i] == '#')
			comment = true;
		else if (!comment && memchr(" \t:", text[i], 3) == NULL)
			return true;
	}
	return false;
}

/*
 * Whether the loader of the next program would preload what the file names, or wait for it. A file that may not be
 * read is one that the loader passes over; what cannot be told counts as in effect.
 */
static bool preload_in_effect(void)
{
	static char text[PRELOAD_MAX];
	struct stat about;
	size_t used = 0;
	int fd = open(PRELOAD_FILE, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return errno != ENOENT && errno != EACCES && errno != ENOTDIR && errno != ELOOP;
	bool known = fstat(fd, &about) == 0;
	if (known && S_ISREG(about.st_mode)) {
		while (used < sizeof text) {
			ssize_t got = read(fd, text + used, sizeof text - used);
			if (got < 0 && errno == EINTR)
				continue;
			if (got < 0)
				known = false;
			if (got <= 0)
				break;
			used += (size_t)got;
		}
	}
	if (close(fd) != 0)
		known = false;
	if (!known)
		return true;
	/* The loader waits at a FIFO, and takes no text from anything else that is no regular file. */
	if (!S_ISREG(about.st_mode))
		return S_ISFIFO(about.st_mode);
	return used == sizeof text || names_anything(text, used);
}

/* Opens the file for the agent, above the standard streams, and says in a variable where it is. */
static void pass_file_on(void)
{
	int fd = open(PRELOAD_FILE, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int high = fd < 0 ? -1 : fcntl(fd, F_DUPFD, STDERR_FILENO + 1);
	if (high < 0)
		return; /* The agent then looks for another way to the file, and says so when there is none. */
	char digits[12];
	char *first = digits + sizeof digits;
	for (int rest = high; rest > 0; rest /= 10)
		*--first = (char)('0' + rest % 10);
	append(preload_fd, sizeof preload_fd, FD_VARIABLE, strlen(FD_VARIABLE));
	append(preload_fd, sizeof preload_fd, first, (size_t)(digits + sizeof digits - first));
}

/* Puts an empty file over /etc/ld.so.preload, for this process and its children alone. */
static void cover_preload_file(void)
{
	if (unshare(CLONE_NEWNS) != 0) {
		if (errno != EPERM)
			fail(NO_VERDICT, PRELOAD_FILE " names a library, and no mount namespace without it could be made: ",
			     strerror(errno), ".", NULL);
		fail(NO_VERDICT,
		     PRELOAD_FILE " names a library that is loaded into every program. With a shim in it Node does not start,"
		                  " and what it read could not be believed.\n",
		     geteuid() == 0 ? "This root may not mount (CAP_SYS_ADMIN): run this outside of the container or unit"
		                    : "Run this as root",
		     ": the agent then starts where that file is empty, and says what is in it (the file itself stays as it is).\n"
		     "Or, if what it names is known to be harmless: " KEEP_VARIABLE "=1 vgpu-agent ...",
		     NULL);
	}
	/* Slave and not private: what is mounted later is seen here as well. Nothing that is mounted here gets out. */
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) != 0)
		fail(NO_VERDICT, "the mounts could not be separated from the machine's (", strerror(errno),
		     "), so " PRELOAD_FILE " was left alone. Not in a chroot, please; or take out what that file names.", NULL);
	/* After unshare, so that the descriptor is of the very mount that the empty file lies on: the agent checks it. */
	pass_file_on();
	if (mount(EMPTY_FILE, PRELOAD_FILE, NULL, MS_BIND, NULL) != 0)
		fail(NO_VERDICT, EMPTY_FILE " could not be put over " PRELOAD_FILE ": ", strerror(errno),
		     ". Take out what that file names.", NULL);
	if (preload_in_effect())
		fail(NO_VERDICT, EMPTY_FILE " is not empty, so Node would be started with what " PRELOAD_FILE,
		     " names: mend that first (mknod -m 666 /dev/null c 1 3).", NULL);
}

/* Writes PREFIX/lib/vgpu-agent/... for this program in PREFIX/bin. */
static void find_parts(char *node, char *program, size_t size)
{
	char self[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", self, sizeof self);
	if (length < 0)
		fail(NOT_USABLE, "it cannot be told where this program lies: /proc/self/exe: ", strerror(errno),
		     ". Is /proc mounted?", NULL);
	for (int levels = 2; levels > 0; levels--)
		while (length > 0 && self[--length] != '/')
			;
	if ((size_t)length + sizeof PROGRAM > size || (size_t)length + sizeof NODE > size)
		fail(NOT_USABLE, "its path is too long.", NULL);
	append(node, size, self, (size_t)length);
	append(node, size, NODE, strlen(NODE));
	append(program, size, self, (size_t)length);
	append(program, size, PROGRAM, strlen(PROGRAM));
}

static bool is_set(const char *name)
{
	for (char **entry = environ; *entry != NULL; entry++)
		if (is_variable(*entry, name))
			return (*entry)[strlen(name) + 1] == '1';
	return false;
}

int main(int argc, char **argv)
{
	static char node[PATH_MAX], program[PATH_MAX];
	find_parts(node, program, sizeof node);
	if (access(node, X_OK) != 0)
		fail(NOT_USABLE, node, ": ", strerror(errno), ". The package is not whole: install it again.", NULL);
	if (access(program, R_OK) != 0)
		fail(NOT_USABLE, program, ": ", strerror(errno), ". The package is not whole: install it again.", NULL);
	if (!is_set(KEEP_VARIABLE) && preload_in_effect())
		cover_preload_file();
	char **arguments = calloc((size_t)argc + COUNT(FLAGS[0].flags) + 3, sizeof *arguments);
	if (arguments == NULL)
		fail(NO_VERDICT, "no memory for the arguments.", NULL);
	const char *command = argc > 1 ? argv[1] : "";
	char **next = arguments;
	*next++ = node;
	for (size_t i = 0; i < COUNT(FLAGS); i++) {
		if (strcmp(command, FLAGS[i].command) != 0)
			continue;
		for (size_t j = 0; j < COUNT(FLAGS[i].flags) && FLAGS[i].flags[j] != NULL; j++)
			*next++ = FLAGS[i].flags[j];
	}
	for (size_t i = 0; strcmp(command, SERVICE) == 0 && i < COUNT(SERVICE_VARIABLES); i++)
		if (setenv(SERVICE_VARIABLES[i][0], SERVICE_VARIABLES[i][1], 0) != 0)
			fail(NO_VERDICT, "no memory for the environment.", NULL);
	*next++ = program;
	for (int i = 1; i < argc; i++)
		*next++ = argv[i];
	execve(node, arguments, clean_environment());
	fail(NOT_USABLE, node, " could not be started: ", strerror(errno), ". Install the package again.", NULL);
}
