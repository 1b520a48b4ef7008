/* COBS, CRC-32 and the splitter of frames.h. */
#include "frames.h"

#include <string.h>

uint32_t crc32(const uint8_t *data, size_t bytes)
{
	/* The remainders of a nibble under the reflected polynomial 0xEDB88320. */
	static const uint32_t nibble[16] = {
		0x00000000,
		0x1db71064,
		0x3b6e20c8,
		0x26d930ac,
		0x76dc4190,
		0x6b6b51f4,
		0x4db26158,
		0x5005713c,
		0xedb88320,
		0xf00f9344,
		0xd6d6a3e8,
		0xcb61b38c,
		0x9b64c2b0,
		0x86d3d2d4,
		0xa00ae278,
		0xbdbdf21c,
	};
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < bytes; i++) {
		crc ^= data[i];
		crc = crc >> 4 ^ nibble[crc & 15];
		crc = crc >> 4 ^ nibble[crc & 15];
	}
	return ~crc;
}

size_t cobs_encode(uint8_t *to, const uint8_t *from, size_t bytes)
{
	size_t code_at = 0, out = 1;
	uint8_t code = 1;

	for (size_t i = 0; i < bytes; i++) {
		if (from[i]) {
			to[out++] = from[i];
			code++;
		}
		/* A full block needs no successor at the end of the data: 254 bytes encode to 255. */
		if (!from[i] || (code == 0xff && i + 1 < bytes)) {
			to[code_at] = code;
			code_at = out++;
			code = 1;
		}
	}
	to[code_at] = code;
	return out;
}

ptrdiff_t cobs_decode(uint8_t *data, size_t bytes)
{
	size_t in = 0, out = 0;

	if (!bytes)
		return -1;
	while (in < bytes) {
		uint8_t code = data[in++];

		if (!code || (size_t)code - 1 > bytes - in)
			return -1;
		for (uint8_t i = 1; i < code; i++) {
			if (!data[in])
				return -1;
			data[out++] = data[in++];
		}
		if (code != 0xff && in < bytes)
			data[out++] = 0;
	}
	return (ptrdiff_t)out;
}

size_t frame_encode(uint8_t wire[FRAME_WIRE_MAX], const uint8_t *message, size_t bytes)
{
	uint8_t body[FRAME_MAX];
	uint32_t crc;
	size_t length;

	if (bytes > FRAME_MESSAGE_MAX)
		return 0;
	crc = crc32(message, bytes);
	memcpy(body, message, bytes);
	for (int i = 0; i < FRAME_CRC; i++)
		body[bytes + (size_t)i] = (uint8_t)(crc >> (8 * i));
	wire[0] = 0;
	length = cobs_encode(wire + 1, body, bytes + FRAME_CRC);
	wire[length + 1] = 0;
	return length + 2;
}

/* Whether what stands in the splitter is a message; if so, leaves it there without its CRC. */
static int complete(struct frame_splitter *s)
{
	ptrdiff_t length = s->overflow ? -1 : cobs_decode(s->data, s->bytes);
	const uint8_t *tail;

	if (length < FRAME_CRC || length > FRAME_MAX)
		return 0;
	s->bytes = (size_t)length - FRAME_CRC;
	tail = s->data + s->bytes;
	return crc32(s->data, s->bytes) ==
		((uint32_t)tail[0] | (uint32_t)tail[1] << 8 | (uint32_t)tail[2] << 16 | (uint32_t)tail[3] << 24);
}

enum frame_input frame_feed(struct frame_splitter *s, uint8_t byte)
{
	if (!s->inside) {
		if (byte)
			return FRAME_TEXT;
		s->inside = 1;
		s->overflow = 0;
		s->bytes = 0;
		return FRAME_PENDING;
	}
	if (byte) {
		if (s->bytes < sizeof(s->data))
			s->data[s->bytes++] = byte;
		else
			s->overflow = 1;
		return FRAME_PENDING;
	}
	if (!s->bytes)
		return FRAME_PENDING; /* two zeros in a row delimit nothing */
	if (complete(s)) {
		s->inside = 0;
		return FRAME_MESSAGE;
	}
	s->dropped++;
	s->overflow = 0;
	s->bytes = 0;
	return FRAME_PENDING;
}

void frame_abandon(struct frame_splitter *s)
{
	s->dropped += s->inside && s->bytes;
	s->inside = 0;
	s->overflow = 0;
	s->bytes = 0;
}
