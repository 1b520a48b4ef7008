#include "dhcp.h"

#include "bytes.h"

enum {
	BOOTREQUEST = 1,
	BOOTREPLY = 2,
	OPTIONS = 240, /* behind the fixed part and the cookie */
	COOKIE = 0x63825363,

	OPTION_PAD = 0,
	OPTION_MASK = 1,
	OPTION_ROUTER = 3,
	OPTION_DNS = 6,
	OPTION_REQUESTED = 50,
	OPTION_LEASE = 51,
	OPTION_TYPE = 53,
	OPTION_SERVER = 54,
	OPTION_PARAMETERS = 55,
	OPTION_T1 = 58,
	OPTION_T2 = 59,
	OPTION_END = 255,
};

/* Where the value of an option belongs whose value starts with 32 bits. */
static uint32_t *field(struct wire_dhcp *dhcp, uint8_t option)
{
	switch (option) {
	case OPTION_MASK:
		return &dhcp->mask;
	case OPTION_ROUTER:
		return &dhcp->gateway;
	case OPTION_DNS:
		return &dhcp->dns;
	case OPTION_LEASE:
		return &dhcp->lease;
	case OPTION_SERVER:
		return &dhcp->server;
	case OPTION_T1:
		return &dhcp->renewal;
	case OPTION_T2:
		return &dhcp->rebinding;
	default:
		return NULL;
	}
}

bool wire_dhcp_parse(struct wire_dhcp *dhcp, const uint8_t *data, size_t bytes)
{
	memset(dhcp, 0, sizeof(*dhcp));
	if (bytes < OPTIONS || data[0] != BOOTREPLY || data[1] != 1 || data[2] != WIRE_MAC ||
		get32(data + 236) != COOKIE)
		return false;
	dhcp->transaction = get32(data + 4);
	dhcp->seconds = get16(data + 8);
	dhcp->broadcast = get16(data + 10) >> 15;
	dhcp->client = get32(data + 12);
	dhcp->yours = get32(data + 16);
	memcpy(dhcp->mac, data + 28, WIRE_MAC);
	for (size_t at = OPTIONS; at < bytes && data[at] != OPTION_END;) {
		uint8_t length;
		uint32_t *to;

		if (data[at] == OPTION_PAD) {
			at++;
			continue;
		}
		if (bytes - at < 2)
			return false;
		length = data[at + 1];
		if (length > bytes - at - 2)
			return false;
		to = field(dhcp, data[at]);
		if (to && length >= 4 && length % 4 == 0)
			*to = get32(data + at + 2);
		else if (data[at] == OPTION_TYPE && length == 1)
			dhcp->type = data[at + 2];
		at += 2u + length;
	}
	return dhcp->type;
}

static uint8_t *put_option(uint8_t *at, uint8_t option, uint32_t value)
{
	if (!value)
		return at;
	at[0] = option;
	at[1] = 4;
	put32(at + 2, value);
	return at + 6;
}

void wire_dhcp_emit(uint8_t data[static WIRE_DHCP_BYTES], const struct wire_dhcp *dhcp)
{
	static const uint8_t parameters[] = {OPTION_PARAMETERS, 3, OPTION_MASK, OPTION_ROUTER, OPTION_DNS};
	uint8_t *at = data + OPTIONS;

	memset(data, 0, WIRE_DHCP_BYTES);
	data[0] = BOOTREQUEST;
	data[1] = 1;
	data[2] = WIRE_MAC;
	put32(data + 4, dhcp->transaction);
	put16(data + 8, dhcp->seconds);
	put16(data + 10, dhcp->broadcast ? 0x8000 : 0);
	put32(data + 12, dhcp->client);
	memcpy(data + 28, dhcp->mac, WIRE_MAC);
	put32(data + 236, COOKIE);
	at[0] = OPTION_TYPE;
	at[1] = 1;
	at[2] = dhcp->type;
	at = put_option(at + 3, OPTION_REQUESTED, dhcp->requested);
	at = put_option(at, OPTION_SERVER, dhcp->server);
	/* RFC 2131, table 5: who gives an address up asks for nothing. */
	if (dhcp->type != WIRE_DHCP_DECLINE && dhcp->type != WIRE_DHCP_RELEASE) {
		memcpy(at, parameters, sizeof(parameters));
		at += sizeof(parameters);
	}
	*at = OPTION_END;
}
