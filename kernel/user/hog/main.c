/*
 * Takes memory objects, maps and touches each, until the kernel refuses: what quotas are tested with. The host may set
 * hog_params before the start and reads hog_results after the end. Leaves with 0 if a quota or the machine's memory
 * ended it, else with the error's number.
 */
#include <stdint.h>
#include <user.h>

struct hog_params {
	uint32_t pages; /* of each object */
	uint32_t limit; /* stop at so many objects even if none was refused; 0: no limit */
	uint32_t hold;  /* nonzero: keep everything and wait for ever */
};

struct hog_results {
	uint32_t objects;
	uint32_t pages;  /* created, mapped or not */
	uint32_t mapped; /* objects mapped and written */
	uint32_t error;  /* enum keuos_error of the refusal; 0: none */
};

volatile struct hog_params hog_params = {.pages = 16};
volatile struct hog_results hog_results;

/* Returns the kernel's refusal, or 0. */
static int64_t take(uint32_t pages)
{
	int64_t memory = sys_memory_create(pages);
	int64_t address;

	if (memory < 0)
		return memory;
	hog_results.objects++;
	hog_results.pages += pages;
	address = sys_memory_map((uint32_t)memory, 1);
	if (sys_is_error(address))
		return address;
	for (uint32_t i = 0; i < pages; i++)
		((volatile uint8_t *)(uintptr_t)address)[(size_t)i * KEUOS_PAGE_BYTES] = 1;
	hog_results.mapped++;
	return 0;
}

int main(const char *args)
{
	int64_t error = 0;

	(void)args;
	while (!error && (!hog_params.limit || hog_results.objects < hog_params.limit))
		error = take(hog_params.pages);
	hog_results.error = (uint32_t)-error;
	user_log("hog: %u objects, %u pages, then error %d", hog_results.objects, hog_results.pages, (int)-error);
	while (hog_params.hold)
		sys_wait(UINT64_MAX, KEUOS_FOREVER);
	return error == 0 || error == -KEUOS_EQUOTA || error == -KEUOS_ENOMEM ? 0 : (int)-error;
}
