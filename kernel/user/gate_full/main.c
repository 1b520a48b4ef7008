/*
 * Spawns senders that are to be killed, wave by wave, and tells the host what became of each. A wave is bound before the
 * host says what its senders shall do, so that the host can read the key of every channel from outside and knows what it
 * wants of them; what they do is gate_sender's parameters, which pass through here as bytes. Two waves are under way: one
 * is run here while the host works on the other.
 *
 *   this program                                          host, through its own view of this program's memory
 *   spawns and binds the senders, ready = n
 *                                                         reads keys, writes `params`, go = n
 *   starts them, waits for their ends, done = n
 *   (the other wave's turn)                               reads the outcomes, and the event record
 *   drops all, reads its own quotas, binds the next
 *
 * It is the consumer of every channel, so what it sees on the status page and in the mailbox is what a peer learns.
 */
#include "../gate_common/gate_program.h"

#include <string.h>

enum gate_full_limit {
	GATE_FULL_WAVES = 2,
	GATE_FULL_WAVE = 14, /* so that no two of its capabilities share a notification bit */
	GATE_FULL_BLOB = 256,
	GATE_FULL_PAGES = 64, /* of the exchange, at most */
	GATE_FULL_SENDER_PAGES = 64,
};

struct gate_full_params {
	char sender[KEUOS_NAME_BYTES];
	uint64_t params_address, results_address; /* of that program's variables */
	uint32_t params_bytes, results_bytes;
	uint32_t core;
	uint32_t data_order;
};

struct gate_full_sender {
	uint8_t params[GATE_FULL_BLOB]; /* by the host */
	uint8_t results[GATE_FULL_BLOB];
	struct keuos_process_info end;
	struct keuos_status_page status;
	uint32_t pid;
	uint32_t channel;
	uint32_t generation;
	uint32_t notified; /* nonzero: this program was woken for that channel */
};

struct gate_full_wave {
	uint32_t ready; /* how many times it was bound, */
	uint32_t go;    /* filled in by the host, */
	uint32_t done;  /* and has ended */
	uint32_t reserved;
	struct keuos_process_info self; /* with the other wave bound, and nothing else */
	struct gate_full_sender senders[GATE_FULL_WAVE];
	struct keuos_descriptor mailboxes[GATE_FULL_WAVE][KEUOS_SLOTS];
};

struct gate_full_exchange {
	uint32_t stop; /* by the host: no more */
	int32_t error;
	struct gate_full_wave waves[GATE_FULL_WAVES];
};

_Static_assert(sizeof(struct gate_full_exchange) <= GATE_FULL_PAGES * KEUOS_PAGE_BYTES, "exchange");

struct gate_full_params params;
_Alignas(KEUOS_PAGE_BYTES) struct gate_full_exchange exchange;
uint64_t physical[GATE_FULL_PAGES]; /* where the pages of the exchange lie; filled in before the first wave is ready */

KEUOS_ACCEPTS(GATE_OPCODE_MESSAGE, GATE_MESSAGE_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(GATE_OPCODE_SHORT, GATE_SHORT_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(GATE_OPCODE_ALIGNED, GATE_MESSAGE_MAX, GATE_ALIGNMENT, 0);

static struct held {
	uint32_t process;
	struct keuos_endpoint end;
} held[GATE_FULL_WAVES][GATE_FULL_WAVE];

static int64_t tell_where(void)
{
	exchange.error = 0; /* its pages are there once they were written to */
	for (uint32_t i = 0; i * KEUOS_PAGE_BYTES < sizeof(exchange); i++) {
		volatile uint8_t *page = (volatile uint8_t *)&exchange + i * KEUOS_PAGE_BYTES;
		int64_t found;

		*page = *page;
		found = sys_hil(KEUOS_CAP_SELF, KEUOS_HIL_PHYSICAL, (uintptr_t)page, 0);
		if (found < 0)
			return found;
		physical[i] = (uint64_t)found;
	}
	return 0;
}

static int64_t bind(struct held *one, struct gate_full_sender *sender)
{
	struct keuos_spawn spawn = {.core = params.core,
		.priority = KEUOS_PRIORITY_NORMAL,
		.suspended = 1,
		.pages_max = GATE_FULL_SENDER_PAGES,
		.channels_max = 1};
	struct keuos_bind request = {.mode = KEUOS_VERIFIED, .data_order = params.data_order};
	struct keuos_process_info info;
	int64_t result;

	memcpy(spawn.name, params.sender, sizeof(spawn.name));
	if ((result = sys_spawn(&spawn)) < 0)
		return result;
	one->process = (uint32_t)result;
	if ((result = sys_channel_bind(one->process, KEUOS_CAP_SELF, &request)) < 0)
		return result;
	if ((result = sys_cap_drop((uint32_t)result))) /* its end is enough, and bits are scarce */
		return result;
	if ((result = sys_channel_accept(&one->end)) || (result = sys_process_info(one->process, &info)))
		return result;
	sender->pid = info.pid;
	sender->channel = one->end.channel;
	sender->generation = one->end.generation;
	return 0;
}

static int64_t start(const struct held *one, const struct gate_full_sender *sender)
{
	int64_t result = sys_process_write(one->process, params.params_address, sender->params, params.params_bytes);

	sys_wait(sys_bit(one->end.capability), 0); /* forgets what came before */
	return result ? result : sys_process_start(one->process);
}

static int64_t finish(const struct held *one, struct gate_full_sender *sender, struct keuos_descriptor *mailbox)
{
	int64_t result;

	while (!(result = sys_process_info(one->process, &sender->end)) && sender->end.state != KEUOS_PROCESS_DEAD)
		sys_wait(sys_bit(one->process), KEUOS_FOREVER);
	if (result)
		return result;
	sender->notified = sys_wait(sys_bit(one->end.capability), 0) != 0;
	sender->status = *(const struct keuos_status_page *)(one->end.base + KEUOS_OFFSET_STATUS);
	memcpy(mailbox, (const void *)(one->end.base + KEUOS_OFFSET_MAILBOX), KEUOS_PAGE_BYTES);
	return sys_process_read(one->process, params.results_address, sender->results, params.results_bytes);
}

static int64_t drop(const struct held *one)
{
	int64_t result = sys_channel_unmap(one->end.capability);

	return result ? result : sys_cap_drop(one->process);
}

static int64_t bind_wave(uint32_t which, uint32_t number)
{
	struct gate_full_wave *wave = &exchange.waves[which];
	int64_t result = 0;

	for (uint32_t i = 0; !result && number > 1 && i < GATE_FULL_WAVE; i++)
		result = drop(&held[which][i]);
	if (!result)
		result = sys_process_info(KEUOS_CAP_SELF, &wave->self);
	for (uint32_t i = 0; !result && i < GATE_FULL_WAVE; i++)
		result = bind(&held[which][i], &wave->senders[i]);
	if (!result)
		__atomic_store_n(&wave->ready, number, __ATOMIC_RELEASE);
	return result;
}

static int64_t run_wave(uint32_t which, uint32_t number)
{
	struct gate_full_wave *wave = &exchange.waves[which];
	int64_t result = 0;

	while (__atomic_load_n(&wave->go, __ATOMIC_ACQUIRE) != number && !exchange.stop)
		keuos_pause();
	if (exchange.stop)
		return 0;
	for (uint32_t i = 0; !result && i < GATE_FULL_WAVE; i++)
		result = start(&held[which][i], &wave->senders[i]);
	for (uint32_t i = 0; !result && i < GATE_FULL_WAVE; i++)
		result = finish(&held[which][i], &wave->senders[i], wave->mailboxes[i]);
	if (!result)
		__atomic_store_n(&wave->done, number, __ATOMIC_RELEASE);
	return result;
}

int main(const char *args)
{
	int64_t result = params.params_bytes > GATE_FULL_BLOB || params.results_bytes > GATE_FULL_BLOB ? -KEUOS_EINVAL
												       : tell_where();

	(void)args;
	for (uint32_t which = 0; !result && which < GATE_FULL_WAVES; which++)
		result = bind_wave(which, 1);
	for (uint32_t number = 1; !result && !exchange.stop; number++)
		for (uint32_t which = 0; !result && !exchange.stop && which < GATE_FULL_WAVES; which++) {
			result = run_wave(which, number);
			if (!result && !exchange.stop)
				result = bind_wave(which, number + 1);
		}
	exchange.error = (int32_t)result;
	return result ? RING_EXIT_FAILED : RING_EXIT_OK;
}
