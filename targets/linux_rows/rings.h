/* The ring rows' own part between fork and the first visit. */
#ifndef RINGS_H
#define RINGS_H

/* Makes this process ping's or pong's side of every channel that was opened, with that side's rights and no others. */
void rings_take_side(int ping);

/* The address of the channel without proof that carries to pong (0) or back (1): the same in both processes. */
unsigned long rings_address(int way);

#endif
