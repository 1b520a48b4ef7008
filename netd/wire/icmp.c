#include "icmp.h"

#include "bytes.h"
#include "checksum.h"

bool wire_icmp_parse(struct wire_icmp *icmp, const uint8_t *data, size_t bytes)
{
	struct wire_sum sum = {0};

	if (bytes < WIRE_ICMP_HEADER || bytes > UINT16_MAX)
		return false;
	wire_sum_add(&sum, data, bytes);
	if (wire_sum_finish(&sum))
		return false;
	icmp->type = data[0];
	icmp->code = data[1];
	icmp->rest = get32(data + 4);
	icmp->payload = data + WIRE_ICMP_HEADER;
	icmp->payload_bytes = (uint16_t)(bytes - WIRE_ICMP_HEADER);
	return true;
}

void wire_icmp_emit(uint8_t data[static WIRE_ICMP_HEADER], const struct wire_icmp *icmp)
{
	struct wire_sum sum = {0};

	data[0] = icmp->type;
	data[1] = icmp->code;
	put16(data + 2, 0);
	put32(data + 4, icmp->rest);
	wire_sum_add(&sum, data, WIRE_ICMP_HEADER);
	wire_sum_add(&sum, icmp->payload, icmp->payload_bytes);
	put16(data + 2, wire_sum_finish(&sum));
}
