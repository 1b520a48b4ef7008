// boost::lockfree::spsc_queue between the same two processes: a ring that others use, as a peer to the kernel's. It has as
// many elements as the kernel's ring has slots, or (rows that end in 64k) as much memory as the data ring of these rows.
// Both sides may write all of it; it knows neither rights nor hostile peers.
#include "rows.h"
#include <boost/lockfree/spsc_queue.hpp>
#include <cerrno>
#include <cstring>
#include <new>
#include <sys/mman.h>

namespace
{

constexpr std::size_t few = 64, many = 65536 / 64;

template <std::size_t bytes> struct alignas(bytes % 64 ? 8 : 64) message {
	std::uint64_t word;
	std::uint8_t rest[bytes - 8];
};

template <std::size_t bytes, std::size_t slots>
using queue = boost::lockfree::spsc_queue<message<bytes>, boost::lockfree::capacity<slots>>;

// Two queues of messages of one size: 0 to pong, 1 back.
template <std::size_t bytes, std::size_t slots = few> struct pair {
	queue<bytes, slots> way[2];
	static pair *shared;

	static int open()
	{
		if (shared)
			return 0;
		void *area = mmap(nullptr, sizeof(pair), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		if (area == MAP_FAILED)
			return -errno;
		shared = new (area) pair;
		return 0;
	}
};
template <std::size_t bytes, std::size_t slots> pair<bytes, slots> *pair<bytes, slots>::shared;

template <std::size_t bytes> message<bytes> *as(rows_message *any)
{
	return reinterpret_cast<message<bytes> *>(any);
}

template <std::size_t bytes, rows_poll poll, std::size_t slots = few> ROWS_INLINE void push(int way, rows_message *from)
{
	while (!pair<bytes, slots>::shared->way[way].push(*as<bytes>(from)))
		rows_idle(poll);
}

template <std::size_t bytes, rows_poll poll, std::size_t slots = few> ROWS_INLINE void pop(int way, rows_message *to)
{
	while (!pair<bytes, slots>::shared->way[way].pop(*as<bytes>(to)))
		rows_idle(poll);
}

template <std::size_t bytes, rows_poll poll> void ping(rows_visit *visit)
{
	ROWS_PING(visit, {
		(push<bytes, poll>(0, &rows_sent));
		(pop<bytes, poll>(1, &rows_got));
	});
}

template <std::size_t bytes, rows_poll poll> void pong()
{
	do {
		pop<bytes, poll>(0, &rows_got);
		rows_materialise(&rows_got);
		push<bytes, poll>(1, &rows_got);
	} while (!(rows_got.word & ROWS_LAST));
}

// As many messages with a call as there are, at most `batch`; 1 takes the calls for single messages.
template <std::size_t bytes, std::size_t batch, std::size_t slots> void ping_stream(rows_visit *visit)
{
	auto &way = pair<bytes, slots>::shared->way[0];
	static message<bytes> sent[batch];
	const std::uint64_t start = rows_start();
	std::uint32_t count = 0;
	bool last = false;

	while (!last) {
		std::size_t filled = 0;
		do {
			count++;
			last = count >= visit->trips * ROWS_STREAM ||
				(count % ROWS_STREAM_LOOK == 0 && rows_start() > visit->deadline);
			sent[filled].word = ++rows_sequence | (last ? ROWS_LAST : 0);
			rows_materialise(&sent[filled++]);
		} while (!last && filled < batch);
		for (std::size_t gone = 0; gone < filled;) {
			std::size_t now = batch == 1 ? way.push(sent[0]) : way.push(sent + gone, filled - gone);
			if (!now)
				rows_idle(ROWS_PAUSE);
			gone += now;
		}
	}
	pop<bytes, ROWS_PAUSE, slots>(1, &rows_got);
	visit->samples[0] = std::uint32_t(rows_stop() - start);
	visit->done = 1;
	visit->each = count;
	visit->wrong += std::uint32_t(rows_got.word);
}

template <std::size_t bytes, std::size_t batch, std::size_t slots> void pong_stream()
{
	auto &way = pair<bytes, slots>::shared->way[0];
	static message<bytes> got[batch];
	std::uint64_t wrong = 0, next = 0, word = 0;

	while (!(word & ROWS_LAST)) {
		std::size_t now = batch == 1 ? way.pop(got[0]) : way.pop(got, batch);
		if (!now)
			rows_idle(ROWS_PAUSE);
		for (std::size_t i = 0; i < now; i++) {
			rows_materialise(&got[i]);
			word = got[i].word;
			wrong += next && (word & ~ROWS_LAST) != next;
			next = (word & ~ROWS_LAST) + 1;
		}
	}
	rows_sent.word = wrong;
	push<bytes, ROWS_PAUSE, slots>(1, &rows_sent);
}

template <std::size_t bytes>
constexpr rows_row trips(const char *name, const char *how, rows_cores cores, rows_poll floor)
{
	return {name, how, cores, floor, cores == ROWS_SAME ? 300u : 1000u, cores == ROWS_SAME ? 30u : 200u,
		pair<bytes>::open,
		floor == ROWS_PAUSE          ? ping<bytes, ROWS_PAUSE>
			: floor == ROWS_BARE ? ping<bytes, ROWS_BARE>
					     : ping<bytes, ROWS_YIELD>,
		floor == ROWS_PAUSE          ? pong<bytes, ROWS_PAUSE>
			: floor == ROWS_BARE ? pong<bytes, ROWS_BARE>
					     : pong<bytes, ROWS_YIELD>};
}

template <std::size_t bytes, std::size_t batch, std::size_t slots = few> constexpr rows_row stream(const char *name)
{
	return {name, "pause", ROWS_CROSS, ROWS_PAUSE, 1, 0, pair<bytes, slots>::open, ping_stream<bytes, batch, slots>,
		pong_stream<bytes, batch, slots>};
}

} // namespace

extern "C" {
extern const rows_row rows_of_boost[] = {
	trips<56>("boost-56", "pause", ROWS_CROSS, ROWS_PAUSE),
	trips<56>("boost-56", "bare", ROWS_CROSS, ROWS_BARE),
	trips<56>("boost-56", "yield", ROWS_SAME, ROWS_YIELD),
	trips<64>("boost-64", "pause", ROWS_CROSS, ROWS_PAUSE),
	trips<64>("boost-64", "bare", ROWS_CROSS, ROWS_BARE),
	trips<64>("boost-64", "yield", ROWS_SAME, ROWS_YIELD),
	stream<64, 1>("boost-stream-64"),
	stream<64, 32>("boost-stream-64-batch"),
	stream<64, 32, many>("boost-stream-64-batch-64k"),
	stream<256, 1>("boost-stream-256"),
	stream<256, 8>("boost-stream-256-batch"),
	stream<1500, 1>("boost-stream-1500"),
	stream<1500, 8>("boost-stream-1500-batch"),
	{},
};
}
