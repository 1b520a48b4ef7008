/*
 * A journal of all that a netd-host on the manual clock is told (entropy, frames, commands, whether the wire had room), in the
 * order in which it saw it: replayed, the stack does exactly the same again, with no peer attached, as often as a person
 * with a debugger wants. Frames that were sent are kept as hashes, so that a replay knows whether it is one.
 */
#ifndef NETD_HOST_JOURNAL_H
#define NETD_HOST_JOURNAL_H

#include <netd/nic.h>
#include <stdbool.h>
#include <sys/types.h>

/* Each exits with a message if the file can't be had. `until`: ends behind so many bytes of it; 0: at its end. */
void journal_record(const char *path);
void journal_replay(const char *path, long until);

bool journal_is_replayed(void);
/* What comes next in a replay is a command; false, too, when the journal is at its end. */
bool journal_has_command(void);
bool journal_is_at_end(void);
/* Tells on standard output what was replayed. Whether every frame was the one that was recorded. */
bool journal_report(void);

/* As getrandom(), read() of a frame and recv() of a command; recorded, or out of the journal. */
ssize_t journal_entropy(void *to, size_t bytes);
ssize_t journal_frame(int fd, void *to, size_t most);
ssize_t journal_command(int fd, char *to, size_t most);
/* A frame was or was not taken by the wire: recorded; in a replay, whether it was then. */
bool journal_sent(const struct netd_part *parts, unsigned count, bool taken);

#endif
