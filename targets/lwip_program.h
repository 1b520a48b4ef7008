/*
 * What the two halves of the program of the target `lwip` know of each other: lwip_stack.c has the stack, its clock and
 * the wire, lwip_sockets.c makes socket calls to it.
 */
#pragma once

/* lwip_sockets.c: before time passes. The stack tells nobody when it frees a connection whose TIME-WAIT is over. */
void let_go_of_time_wait(void);

/* lwip_sockets.c: carries out one request, which it takes apart, and replies. */
void serve(char *request);
