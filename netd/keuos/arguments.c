/* The parser of arguments.h. */
#include "arguments.h"

#include <string.h>

/* Reads a decimal number of at most `most`. Returns what stands behind it, or NULL if there is none. */
static const char *number(const char *text, uint32_t most, uint32_t *value)
{
	uint64_t all = 0;

	if (*text < '0' || *text > '9')
		return NULL;
	for (; *text >= '0' && *text <= '9'; text++) {
		all = all * 10 + (uint64_t)(*text - '0');
		if (all > most)
			return NULL;
	}
	*value = (uint32_t)all;
	return text;
}

static const char *address(const char *text, uint32_t *value)
{
	uint32_t byte;

	*value = 0;
	for (int i = 0; i < 4; i++) {
		if (i && *text++ != '.')
			return NULL;
		text = number(text, 255, &byte);
		if (!text)
			return NULL;
		*value = *value << 8 | byte;
	}
	return text;
}

static bool whole_address(const char *text, uint32_t *value)
{
	const char *end = address(text, value);

	return end && !*end;
}

static bool whole_number(const char *text, uint32_t most, uint32_t *value)
{
	const char *end = number(text, most, value);

	return end && !*end;
}

/* An address and the mask of so many bits. Returns what stands behind them, or NULL. */
static const char *network(const char *text, uint32_t *value, uint32_t *mask)
{
	uint32_t bits;

	text = address(text, value);
	if (!text || *text++ != '/')
		return NULL;
	text = number(text, 32, &bits);
	if (!text || !bits)
		return NULL;
	*mask = UINT32_MAX << (32 - bits);
	return text;
}

static bool own_network(const char *text, struct netd_address *own)
{
	const char *end = network(text, &own->address, &own->mask);

	return end && !*end && own->address;
}

static bool route(struct arguments *a, const char *text)
{
	struct argument_route *made = &a->routes[a->route_count];

	if (a->route_count == ARGUMENT_ROUTES)
		return false;
	text = network(text, &made->network, &made->mask);
	if (!text || *text++ != ',' || !whole_address(text, &made->gateway))
		return false;
	a->route_count++;
	return true;
}

/* The value of a word `NAME=VALUE`, or NULL if it has another name. */
static const char *value_of(const char *word, const char *name)
{
	size_t bytes = strlen(name);

	return !strncmp(word, name, bytes) && word[bytes] == '=' ? word + bytes + 1 : NULL;
}

static bool limit(struct netd_limits *limits, const char *word)
{
	const struct {
		const char *name;
		uint16_t *small;
		uint32_t *large;
	} all[] = {
		{"blocks", &limits->blocks, NULL},
		{"connections", &limits->connections, NULL},
		{"send", NULL, &limits->send_bytes},
		{"receive", NULL, &limits->receive_bytes},
		{"frames", &limits->frames, NULL},
		{"udp", &limits->udp_sockets, NULL},
		{"neighbours", &limits->neighbours, NULL},
		{"reassemblies", &limits->reassemblies, NULL},
	};
	uint32_t value;

	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		const char *text = value_of(word, all[i].name);

		if (!text)
			continue;
		if (!whole_number(text, all[i].small ? UINT16_MAX : UINT32_MAX, &value))
			return false;
		if (all[i].small)
			*all[i].small = (uint16_t)value;
		else
			*all[i].large = value;
		return true;
	}
	return false;
}

static bool take(struct arguments *a, const char *word)
{
	const char *text;
	uint32_t value;

	if ((text = value_of(word, "ip")))
		return own_network(text, &a->own);
	if ((text = value_of(word, "gw")))
		return whole_address(text, &a->own.gateway);
	if ((text = value_of(word, "dns")))
		return whole_address(text, &a->own.dns);
	if ((text = value_of(word, "route")))
		return route(a, text);
	if ((text = value_of(word, "mtu"))) {
		if (!whole_number(text, 1500, &value) || value < 68)
			return false;
		a->mtu = (uint16_t)value;
		return true;
	}
	if ((text = value_of(word, "msl"))) {
		if (!whole_number(text, 3600000, &value) || !value)
			return false;
		a->config.msl = value * NETD_MS;
		return true;
	}
	if (!strcmp(word, "ecn"))
		return a->config.ecn = true;
	if (!strcmp(word, "dhcp"))
		return true;
	if (!strcmp(word, "noservices")) {
		a->services = false;
		return true;
	}
	return limit(&a->config.limits, word);
}

bool arguments_parse(struct arguments *arguments, const char *text, char *word)
{
	*arguments = (struct arguments){.config.limits = NETD_LIMITS_DEFAULT, .services = true};
	for (;;) {
		size_t bytes = 0;

		while (*text == ' ')
			text++;
		if (!*text)
			return true;
		for (; *text && *text != ' '; text++)
			if (bytes + 1 < ARGUMENT_BYTES)
				word[bytes++] = *text;
		word[bytes] = 0;
		if (!take(arguments, word))
			return false;
	}
}
