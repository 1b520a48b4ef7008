/* Inside kernel/hil: what hil_syscall hands on. Each checks the capability that its caller names by itself. */
#ifndef HIL_HIL_H
#define HIL_HIL_H

#include <kernel/syscall.h>

/* hil/gate.c */
struct result hil_gate(uint64_t producer);
/* hil/window.c */
struct result hil_physical(uint64_t process, uint64_t address);
struct result hil_hash(uint64_t producer, uint64_t bytes);

#endif
