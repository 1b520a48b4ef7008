/*
 * NetD as the console keeps it: started with the NIC, bound to the programs that ask for sockets, started again when it
 * dies. Whom the words come from, and where they go, is the prompt's affair.
 */
#ifndef KEUOS_CONSOLE_NETWORK_H
#define KEUOS_CONSOLE_NETWORK_H

#include "children.h"

/* The program, by its name. */
extern const char network_program[];

/* The NetD that programs are bound to, or NULL. */
const struct child *network_serves(void);

/* Quotas that NetD needs: its memory is static. */
void network_quota(struct keuos_spawn *spawn);

/*
 * Grants a NetD that was spawned suspended every network device and starts it; it is the one that programs are bound to
 * from here on. 0, or the kernel's error.
 */
int64_t network_start(struct child *netd, const struct keuos_spawn *spawn);

/* Gives a process a pair of channels with NetD; observer: it may look at everybody's. 0, or an error; -KEUOS_ESTATE: no NetD. */
int64_t network_bind(struct child *application, int observer);

/*
 * A child has died. If it was NetD, another is started in its place, unless that makes no sense: it lived too short, or
 * left because it could not begin. The new one, or NULL.
 */
struct child *network_died(const struct child *child, const struct keuos_process_info *info);

/* Ends NetD, and starts none in its place. 0, or an error; -KEUOS_ESTATE: no NetD. */
int64_t network_end(void);

#endif
