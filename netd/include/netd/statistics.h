/* What the stack counts. One list: names for whoever prints them, numbers for whoever counts. */
#ifndef NETD_STATISTICS_H
#define NETD_STATISTICS_H

#include <stdint.h>

/* clang-format off */
#define NETD_COUNTERS(X) \
	X(frames_in) X(frames_out) X(bytes_in) X(bytes_out) X(frames_unknown) X(nic_busy) X(loopback_dropped) \
	X(arp_in) X(arp_malformed) X(arp_requests) X(arp_conflicts) X(arp_full) X(arp_dropped) X(arp_failed) \
	X(ip_in) X(ip_out) X(ip_malformed) X(ip_checksum) X(ip_martian) X(ip_not_ours) X(ip_source_routed) X(ip_no_route) \
	X(fragments_in) X(fragments_out) X(reassembled) X(reassembly_timeout) X(reassembly_overlap) X(reassembly_full) \
	X(icmp_in) X(icmp_malformed) X(icmp_echoes) X(icmp_errors_in) X(icmp_errors_out) X(icmp_limited) \
	X(udp_in) X(udp_out) X(udp_malformed) X(udp_no_port) X(udp_full) \
	X(tcp_in) X(tcp_out) X(tcp_malformed) X(tcp_checksum) X(tcp_resets_in) X(tcp_resets_out) X(tcp_retransmitted) \
	X(tcp_timeouts) X(tcp_tail_probes) X(tcp_fast_retransmits) X(tcp_duplicate_acks) X(tcp_out_of_order) X(tcp_out_of_order_full) \
	X(tcp_frames_full) \
	X(tcp_challenge_acks) X(tcp_challenge_limited) X(tcp_paws) X(tcp_opened) X(tcp_accepted) X(tcp_refused) \
	X(tcp_gave_up) X(tcp_backlog_full) X(tcp_no_block) X(tcp_no_buffer) X(tcp_recycled) X(tcp_orphans_reset) X(tcp_probes) X(tcp_keepalives) \
	X(tcp_path_mtu) X(tcp_black_hole) X(cookies_sent) X(cookies_accepted) X(cookies_refused) \
	X(bytes_copied) X(bytes_delivered)
/* clang-format on */

enum netd_counter {
#define NETD_COUNTER(name) NETD_COUNT_##name,
	NETD_COUNTERS(NETD_COUNTER)
#undef NETD_COUNTER
		NETD_COUNTS,
};

#endif
