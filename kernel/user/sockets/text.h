/* Words, numbers, addresses and hexadecimal data of a line of text. Pure; every input hostile. */
#ifndef SOCKETS_TEXT_H
#define SOCKETS_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* Splits a line in place at blanks. How many words, at most `most`; what is beyond is left out. */
unsigned text_words(char *line, char **words, unsigned most);
int64_t text_number(const char *word);
/* A dotted address as a number; 0 if it is none. */
uint32_t text_address(const char *word);
/* Decodes at most `room` bytes; `-` is none. How many. */
size_t text_from_hex(const char *word, uint8_t *to, size_t room);
/* Encodes; no bytes are `-`. `to` has room for twice the bytes and 2. What was written, without the NUL. */
size_t text_to_hex(char *to, const uint8_t *bytes, size_t count);
/* Whether a word of flag letters has this one. */
int text_has(const char *word, char letter);

#endif
