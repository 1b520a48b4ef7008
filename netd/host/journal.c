/* The journal of journal.h: entries of a kind, a length and so many bytes. */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	MOST = 256 << 20, /* bytes that are recorded; what comes later is not */
};

enum kind { ENTROPY = 1, FRAME, NO_FRAME, COMMAND, SENT, REFUSED, KINDS };

struct entry {
	uint32_t kind;
	uint32_t bytes;
};

static struct {
	int fd; /* recorded to */
	bool recorded;
	off_t written;
	uint8_t *data; /* replayed from */
	size_t bytes, at;
	unsigned long frames, commands, sent, different;
} journal;

void journal_record(const char *path)
{
	journal.fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	journal.recorded = journal.fd >= 0;
	if (!journal.recorded) {
		fprintf(stderr, "netd-host: %s can't be written: %s\n", path, strerror(errno));
		exit(2);
	}
}

/* Whether these are entries; the last may have been cut, by --until or the end of whoever recorded. */
static bool is_journal(const uint8_t *data, size_t bytes)
{
	struct entry entry;

	for (size_t at = 0; bytes - at >= sizeof(entry); at += sizeof(entry) + entry.bytes) {
		memcpy(&entry, data + at, sizeof(entry));
		if (entry.kind < ENTROPY || entry.kind >= KINDS)
			return false;
		if (bytes - at - sizeof(entry) < entry.bytes)
			return at > 0;
	}
	return bytes >= sizeof(entry);
}

void journal_replay(const char *path, long until)
{
	FILE *file = fopen(path, "rb");
	long size = file && !fseek(file, 0, SEEK_END) ? ftell(file) : -1;

	if (until > 0 && until < size)
		size = until;
	if (size <= 0 || fseek(file, 0, SEEK_SET) || !(journal.data = malloc((size_t)size)) ||
		fread(journal.data, 1, (size_t)size, file) != (size_t)size || !is_journal(journal.data, (size_t)size)) {
		fprintf(stderr, "netd-host: %s is no journal: expected a file that --record wrote\n", path);
		exit(2);
	}
	fclose(file);
	journal.bytes = (size_t)size;
}

bool journal_is_replayed(void)
{
	return journal.data;
}

static void put(enum kind kind, const void *data, size_t bytes)
{
	struct entry entry = {.kind = kind, .bytes = (uint32_t)bytes};
	struct iovec parts[] = {{&entry, sizeof(entry)}, {(void *)(uintptr_t)data, bytes}};

	if (journal.written + (off_t)(sizeof(entry) + bytes) > MOST)
		journal.recorded = false;
	if (!journal.recorded)
		return;
	if (writev(journal.fd, parts, 2) != (ssize_t)(sizeof(entry) + bytes))
		journal.recorded = false; /* a full disk ends the record, not the test */
	journal.written += (off_t)(sizeof(entry) + bytes);
}

/* The next entry; NULL at the end. */
static const struct entry *peek(struct entry *entry)
{
	if (journal.bytes - journal.at < sizeof(*entry))
		return NULL;
	memcpy(entry, journal.data + journal.at, sizeof(*entry));
	return journal.bytes - journal.at - sizeof(*entry) < entry->bytes ? NULL : entry;
}

/* Takes an entry of that kind. Its length; -1: something else comes, or nothing. */
static ssize_t take(enum kind kind, void *to, size_t most)
{
	struct entry entry;

	if (!peek(&entry) || entry.kind != kind || entry.bytes > most)
		return -1;
	memcpy(to, journal.data + journal.at + sizeof(entry), entry.bytes);
	journal.at += sizeof(entry) + entry.bytes;
	return entry.bytes;
}

static void tell_difference(void)
{
	if (!journal.different++)
		printf("frame %lu is not the one that was recorded: the program is another one, or reads what it was "
		       "not told\n",
			journal.sent + 1);
}

/* Frames that were sent then, and are not now. */
static void skip_unsent(void)
{
	struct entry entry;

	while (peek(&entry) && (entry.kind == SENT || entry.kind == REFUSED)) {
		tell_difference();
		journal.at += sizeof(entry) + entry.bytes;
	}
}

bool journal_has_command(void)
{
	struct entry entry;

	skip_unsent();
	return peek(&entry) && entry.kind == COMMAND;
}

bool journal_is_at_end(void)
{
	struct entry entry;

	return !peek(&entry);
}

bool journal_report(void)
{
	printf("replayed: %lu frames and %lu commands came, %lu frames were sent, %lu of them not as recorded\n",
		journal.frames, journal.commands, journal.sent, journal.different);
	return !journal.different;
}

ssize_t journal_entropy(void *to, size_t bytes)
{
	if (journal_is_replayed())
		return take(ENTROPY, to, bytes);
	if (getrandom(to, bytes, 0) != (ssize_t)bytes)
		return -1;
	put(ENTROPY, to, bytes);
	return (ssize_t)bytes;
}

ssize_t journal_frame(int fd, void *to, size_t most)
{
	ssize_t bytes;

	if (journal_is_replayed()) {
		skip_unsent();
		bytes = take(FRAME, to, most);
		journal.frames += bytes >= 0;
		if (bytes < 0) {
			take(NO_FRAME, to, 0);
			errno = EAGAIN;
		}
		return bytes;
	}
	bytes = read(fd, to, most);
	put(bytes >= 0 ? FRAME : NO_FRAME, to, bytes >= 0 ? (size_t)bytes : 0);
	return bytes;
}

ssize_t journal_command(int fd, char *to, size_t most)
{
	ssize_t bytes;

	if (journal_is_replayed()) {
		bytes = take(COMMAND, to, most);
		journal.commands += bytes > 0;
		if (bytes > 0)
			printf("%.*s\n", (int)(bytes < 100 ? bytes : 100), to);
		return bytes < 0 ? 0 : bytes;
	}
	bytes = recv(fd, to, most, 0);
	if (bytes > 0)
		put(COMMAND, to, (size_t)bytes);
	return bytes;
}

/* FNV-1a: not against anybody who wants it to be equal. */
static uint64_t hash(const struct netd_part *parts, unsigned count)
{
	uint64_t value = 0xcbf29ce484222325u;

	for (unsigned i = 0; i < count; i++)
		for (size_t at = 0; at < parts[i].bytes; at++)
			value = (value ^ ((const uint8_t *)parts[i].data)[at]) * 0x100000001b3u;
	return value;
}

bool journal_sent(const struct netd_part *parts, unsigned count, bool taken)
{
	uint64_t is = 0, was = 0;

	if (!journal.recorded && !journal_is_replayed())
		return taken;
	is = hash(parts, count);
	if (!journal_is_replayed()) {
		put(taken ? SENT : REFUSED, &is, sizeof(is));
		return taken;
	}
	if (journal_is_at_end())
		return true; /* it ends in the midst of a turn */
	taken = take(REFUSED, &was, sizeof(was)) < 0;
	if (taken)
		take(SENT, &was, sizeof(was));
	if (is != was)
		tell_difference();
	journal.sent++;
	return taken;
}
