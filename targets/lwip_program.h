/*
 * What the two halves of the program of the target `lwip` know of each other: lwip_stack.c has the stack, its clock and
 * the wire, lwip_sockets.c makes socket calls to it.
 */
#pragma once

/* lwip_sockets.c: carries out one request, which it takes apart, and replies. */
void serve(char *request);
