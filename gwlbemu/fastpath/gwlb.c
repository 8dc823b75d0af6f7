// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The fast path: tc programs that remember what the core decided and decide nothing themselves.
 *
 *   encap    ingress of every endpoint interface: a packet of a known flow leaves at the ENI inside GENEVE
 *   decap    ingress of the ENI: a packet that came back exactly as it was sent leaves at its endpoint
 *   reflect  an appliance for benchmarks: swaps the outer addresses and sends the packet back
 *
 * Whatever is not an exact hit goes up: it is redirected to the TAP of the interface it came in at, where Python reads it and asks the
 * core. So every other verdict, every drop counter and every byte of an unusual packet is the core's. Python sends by its ordinary
 * ports; nothing comes back through a TAP.
 *
 * Layouts of `settings`, `interface`, keys and values are mirrored in layout.py.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "packet.h"

#define OUTER 68 /* IPv4 20, UDP 8, GENEVE 8, options 32 */
#define LONGEST 8500 /* of an inner packet: GWLB guide, MTU */
#ifndef BPF_F_ADJ_ROOM_DECAP_L3_IPV4 /* Linux 6.3; the header on the machine may be older */
#define BPF_F_ADJ_ROOM_DECAP_L3_IPV4 (1ULL << 7)
#define BPF_F_ADJ_ROOM_DECAP_L3_IPV6 (1ULL << 8)
#endif

/* What holds for the whole node; Python may rewrite it at any time. Addresses are in network order. */
struct settings {
	__u32 node_address;
	__u32 eni; /* interface indices */
	__u32 eni_tap;
	__u8 key_size; /* 5, 3 or 2: how many of the five values a flow is */
	__u8 ttl_decrement; /* the switch of that name */
	__u8 super_packets; /* offloads on: checksums may be unfinished, so the outer one is 0 (RFC 8926 section 3.3) */
	__u8 paused; /* everything goes up: somebody wants to see every packet */
	__u64 factor; /* odd; its product with an endpoint id has 24 high bits that differ between the node's endpoints */
	__u64 advanced; /* nanoseconds that the node's clock is ahead of CLOCK_MONOTONIC: `gwlbemu advance` */
	__u32 held_targets; /* how many entries `held` has */
};
struct settings settings SEC(".data");

/* What stands at an interface, by its index. */
struct interface {
	__u64 endpoint; /* as it stands in the option */
	__u32 tap;
	__u8 mac[6];
	__u8 router[6];
	__u64 tagged; /* frames with a VLAN tag that were dropped here */
};

/* One flow, both directions: the lower (address, port) first. `id` is the protocol and 24 bits that stand for the endpoint. */
struct key4 {
	__u32 low, high;
	__u16 low_port, high_port;
	__u32 id;
};
struct key6 {
	__u64 low[2], high[2];
	__u16 low_port, high_port;
	__u32 id;
};

/* 56 bytes, so that an element with a key4 takes exactly 128 bytes of kernel memory. */
struct flow {
	__u32 target;
	__u32 cookie; /* as it stands in the option */
	__u8 mac[6]; /* next hop towards the target */
	__u16 source_port; /* as it stands in the header */
	__u32 slot; /* Python's */
	__u16 endpoint; /* interface index */
	__u16 idle_seconds : 15; /* silent for longer: the core has to say what the next packet means */
	__u16 from_high : 1; /* the first packet came from the higher end */
	__u32 packets, returned_packets; /* wrap; Python reads differences */
	__u64 bytes, returned_bytes; /* of inner packets */
	__u64 last; /* nanoseconds of the node's clock, of the last packet or of the entry's making */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct key4);
	__type(value, struct flow);
} flows4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct key6);
	__type(value, struct flow);
} flows6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct interface);
} interfaces SEC(".maps");

/* Targets whose flows the core judges packet by packet for now, by address. One write holds a million flows. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, __u8);
} held SEC(".maps");

/* What the programs did; the order is layout.py's COUNTERS. */
enum counter { ENCAPSULATED, DECAPSULATED, UNKNOWN_FLOW, TCP_FLAGS, UNUSUAL, TOO_LONG, HOPS, IDLE, HELD, TUNNEL, FAILED, PAUSED, TAGGED, COUNTERS };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

static __always_inline void count(__u32 what)
{
	__u64 *counter = bpf_map_lookup_elem(&counters, &what);
	if (counter)
		(*counter)++;
}

static __always_inline int up(__u32 tap, enum counter why)
{
	count(why);
	return bpf_redirect(tap, 0);
}

/* A VPC carries no VLANs. The kernel has taken the outermost tag off and kept it aside: redirected, the frame would have it again. */
static __always_inline int drop_tagged(__u32 index)
{
	struct interface *at = bpf_map_lookup_elem(&interfaces, &index);
	if (at)
		__sync_fetch_and_add(&at->tagged, 1);
	count(TAGGED);
	return TC_ACT_SHOT;
}

/* An inner packet as both programs see it. */
struct inner {
	__u32 length; /* from the IP header, which has to agree with the frame */
	__u32 head; /* of each segment of a super-packet: IP and TCP headers */
	__u8 version, ttl;
	__u8 from_high; /* its source is the higher end of the key */
};

/* Read the TCP, UDP or ICMP head at p: why the packet is the core's business, ENCAPSULATED when it is usual. */
static __always_inline enum counter read_upper(void *p, void *end, __u8 protocol, __u32 size, __u32 *ports, struct inner *in)
{
	*ports = 0;
	if (protocol == IPPROTO_TCP) {
		if (p + 20 > end || size < 20)
			return UNUSUAL;
		if (U8(p, 13) & 0x07) /* FIN, SYN, RST: the core follows a connection by these */
			return TCP_FLAGS;
		in->head += (U8(p, 12) >> 4) * 4;
		*ports = U32(p, 0);
	} else if (protocol == IPPROTO_UDP) {
		if (p + 8 > end || bpf_ntohs(U16(p, 4)) != size)
			return UNUSUAL;
		*ports = U32(p, 0);
	} else if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) {
		/* An error may belong to another flow (setting icmp_errors), and neighbour discovery is no flow: echo only. */
		if (p + 8 > end || size < 8)
			return UNUSUAL;
		__u8 type = U8(p, 0);
		if (protocol == IPPROTO_ICMP ? type != 0 && type != 8 : type != 128 && type != 129)
			return UNUSUAL;
	}
	return ENCAPSULATED;
}

static __always_inline __u32 key_id(__u64 endpoint, __u8 protocol)
{
	__u32 high = (endpoint * settings.factor) >> 40;
	return high << 8 | (settings.key_size == 2 ? 0 : protocol);
}

static __always_inline enum counter read4(void *p, void *end, __u64 endpoint, struct inner *in, struct key4 *key)
{
	if (p + 20 > end || U8(p, 0) != 0x45 || U16(p, 6) & bpf_htons(0x3fff))
		return UNUSUAL; /* options, fragments */
	__u8 protocol = U8(p, 9);
	__u32 source = U32(p, 12), destination = U32(p, 16), ports;
	in->version = 4;
	in->ttl = U8(p, 8);
	in->length = bpf_ntohs(U16(p, 2));
	__u32 size = in->length - 20;
	in->head = 20;
	enum counter why = read_upper(p + 20, end, protocol, size, &ports, in);
	if (why)
		return why;
	if (settings.key_size != 5)
		ports = 0;
	__u16 source_port = ports & 0xffff, destination_port = ports >> 16;
	__u32 s = bpf_ntohl(source), d = bpf_ntohl(destination);
	in->from_high = s > d || (s == d && bpf_ntohs(source_port) > bpf_ntohs(destination_port));
	if (!in->from_high)
		*key = (struct key4){source, destination, source_port, destination_port, key_id(endpoint, protocol)};
	else
		*key = (struct key4){destination, source, destination_port, source_port, key_id(endpoint, protocol)};
	return ENCAPSULATED;
}

static __always_inline enum counter read6(void *p, void *end, __u64 endpoint, struct inner *in, struct key6 *key)
{
	if (p + 40 > end || U8(p, 0) >> 4 != 6)
		return UNUSUAL;
	__u8 protocol = U8(p, 6);
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP && protocol != IPPROTO_ICMPV6)
		return UNUSUAL; /* extension headers */
	__u32 ports;
	in->version = 6;
	in->ttl = U8(p, 7);
	__u32 size = bpf_ntohs(U16(p, 4));
	in->length = size + 40;
	in->head = 40;
	enum counter why = read_upper(p + 40, end, protocol, size, &ports, in);
	if (why)
		return why;
	if (settings.key_size != 5)
		ports = 0;
	__u16 source_port = ports & 0xffff, destination_port = ports >> 16;
	__u64 s0 = U64(p, 8), s1 = U64(p, 16), d0 = U64(p, 24), d1 = U64(p, 32);
	__u64 s = bpf_be64_to_cpu(s0), d = bpf_be64_to_cpu(d0);
	if (s == d) {
		s = bpf_be64_to_cpu(s1);
		d = bpf_be64_to_cpu(d1);
	}
	in->from_high = s > d || (s == d && bpf_ntohs(source_port) > bpf_ntohs(destination_port));
	if (!in->from_high)
		*key = (struct key6){{s0, s1}, {d0, d1}, source_port, destination_port, key_id(endpoint, protocol)};
	else
		*key = (struct key6){{d0, d1}, {s0, s1}, destination_port, source_port, key_id(endpoint, protocol)};
	return ENCAPSULATED;
}

static __always_inline __u64 clock(void)
{
	return bpf_ktime_get_coarse_ns() + settings.advanced;
}

/* Why the packet cannot pass here although its flow is known; ENCAPSULATED when it can. */
static __always_inline enum counter judge(struct __sk_buff *skb, struct inner *in, struct flow *flow, __u8 step, __u64 now)
{
	if (settings.held_targets && bpf_map_lookup_elem(&held, &flow->target))
		return HELD;
	if (in->ttl <= step)
		return HOPS;
	if (skb->gso_segs > 1) {
		/*
		 * With its GENEVE and Ethernet headers the whole has to stay below a link's gso_max_size, 65536, or the kernel would cut it
		 * by a header it does not find.
		 */
		if (!settings.super_packets || skb->gso_size + in->head > LONGEST || in->length > 0xffff - OUTER - ETH_HLEN)
			return TOO_LONG;
	} else if (in->length > LONGEST)
		return TOO_LONG;
	if ((__s64)(now - flow->last) >= (__s64)flow->idle_seconds * 1000000000) /* `now` is coarse: it may lie before the entry's making */
		return IDLE;
	return ENCAPSULATED;
}

/* What is taken from the TTL here: `at_sender` when the packet enters the endpoint on the side of the flow's first sender, or leaves there. */
static __always_inline __u8 ttl_step(int at_sender)
{
	return settings.ttl_decrement == 2 || (settings.ttl_decrement == 1 && at_sender);
}

/*
 * Add up length bytes of the inner packet in chunks the verifier can follow; -1 when they are not all there. A function of its own is
 * verified once, not again with every path that leads to it: that is most of the time it takes to load.
 */
__attribute__((noinline)) __s64 sum_bytes(struct __sk_buff *skb, __u32 length)
{
	void *p = (void *)(long)skb->data + ETH_HLEN, *end = (void *)(long)skb->data_end;
	__u32 blocks = length / 512, done = length & 0x3e00;
	__u64 sum = 0;
	for (__u32 i = 0; i < 17; i++) {
		if (i >= blocks)
			break;
		if (p + 512 > end)
			return -1;
		sum += (__u32)bpf_csum_diff(0, 0, p, 512, 0);
		p += 512;
	}
	/* Not the p of the loop: the verifier would follow the rest once for each number of blocks. */
	p = (void *)(long)skb->data + ETH_HLEN + done;
	end = (void *)(long)skb->data_end;
#pragma unroll
	for (int size = 256; size >= 4; size /= 2) {
		if (length & size) {
			if (p + size > end)
				return -1;
			sum += (__u32)bpf_csum_diff(0, 0, p, size, 0);
			p += size;
		}
	}
	if (length & 2) {
		if (p + 2 > end)
			return -1;
		sum += U16(p, 0);
		p += 2;
	}
	if (length & 1) {
		if (p + 1 > end)
			return -1;
		sum += bpf_htons(U8(p, 0) << 8);
	}
	return sum;
}

/* Outer addresses, headers and options: all 82 bytes in front of the inner packet, Ethernet included. */
static __always_inline void write_outer(void *p, struct flow *flow, struct interface *at, struct interface *eni, struct inner *in,
	__u64 inner_sum)
{
	__u32 node = settings.node_address, target = flow->target, cookie = flow->cookie;
	__u64 endpoint = at->endpoint;
	__u16 length = bpf_htons(in->length + OUTER), udp_length = bpf_htons(in->length + OUTER - 20);
	__u16 type = in->version == 4 ? IP4 : IP6;
	__u64 addresses = (__u64)node + target;

	__builtin_memcpy(p, flow->mac, 6);
	__builtin_memcpy(p + 6, eni->mac, 6);
	U16(p, 12) = IP4;
	U16(p, 14) = bpf_htons(0x4500);
	U16(p, 16) = length;
	U32(p, 18) = 0;
	U16(p, 22) = bpf_htons(255 << 8 | IPPROTO_UDP);
	U16(p, 24) = ~fold(addresses + bpf_htons(0x4500) + length + bpf_htons(255 << 8 | IPPROTO_UDP));
	U32(p, 26) = node;
	U32(p, 30) = target;
	U16(p, 34) = flow->source_port;
	U16(p, 36) = bpf_htons(6081);
	U16(p, 38) = udp_length;
	U16(p, 42) = bpf_htons(0x0800);
	U16(p, 44) = type;
	U32(p, 46) = 0;
	U32(p, 50) = bpf_htonl(0x01080102);
	U64(p, 54) = endpoint;
	U32(p, 62) = bpf_htonl(0x01080202);
	U64(p, 66) = 0;
	U32(p, 74) = bpf_htonl(0x01080301);
	U32(p, 78) = cookie;
	__u16 checksum = 0;
	if (!settings.super_packets) {
		__u64 sum = addresses + bpf_htons(IPPROTO_UDP) + 2 * (__u32)udp_length + flow->source_port + bpf_htons(6081)
			+ bpf_htons(0x0800) + type + (endpoint & 0xffffffff) + (endpoint >> 32) + (__u64)cookie + inner_sum
			+ (__u64)bpf_htonl(0x01080102) + bpf_htonl(0x01080202) + bpf_htonl(0x01080301);
		checksum = ~fold(sum);
		if (!checksum)
			checksum = 0xffff;
	}
	U16(p, 40) = checksum;
}

SEC("tc") int encap(struct __sk_buff *skb)
{
	__u32 index = skb->ifindex, eni_index = settings.eni;
	if (skb->vlan_present)
		return drop_tagged(index);
	if (skb->pkt_type != TO_US || (skb->protocol != IP4 && skb->protocol != IP6))
		return PASS;
	struct interface *at = bpf_map_lookup_elem(&interfaces, &index), *eni = bpf_map_lookup_elem(&interfaces, &eni_index);
	if (!at || !eni || !at->tap)
		return PASS;
	if (settings.paused)
		return up(at->tap, PAUSED);

	pull(skb, ETH_HLEN + 60);
	void *p = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct inner in = {};
	struct key4 key4;
	struct key6 key6;
	struct flow *flow;
	enum counter why;
	p += ETH_HLEN;
	if (skb->protocol == IP4) {
		why = read4(p, end, at->endpoint, &in, &key4);
		if (why)
			return up(at->tap, why);
		flow = bpf_map_lookup_elem(&flows4, &key4);
	} else {
		why = read6(p, end, at->endpoint, &in, &key6);
		if (why)
			return up(at->tap, why);
		flow = bpf_map_lookup_elem(&flows6, &key6);
	}
	if (!flow)
		return up(at->tap, UNKNOWN_FLOW);
	__u64 now = clock();
	__u8 step = ttl_step(in.from_high == flow->from_high);
	why = in.length + ETH_HLEN == skb->len ? judge(skb, &in, flow, step, now) : UNUSUAL;
	if (why)
		return up(at->tap, why);

	__s64 sum = 0;
	if (!settings.super_packets) {
		/*
		 * The payload is summed although it could be left out where the packet's own checksum is right (local checksum offload):
		 * nobody knows that it is, and an outer checksum has to be valid around a broken packet too.
		 */
		if (bpf_skb_pull_data(skb, skb->len))
			return up(at->tap, FAILED);
		sum = sum_bytes(skb, in.length);
		if (sum < 0)
			return up(at->tap, FAILED);
		if (in.version == 6) /* whose hop limit is in no checksum of its own */
			sum += 0xffff ^ bpf_htons(step);
	}

	/*
	 * bpf_skb_adjust_room would leave marks on a super-packet. With its ENCAP flags that is skb->encapsulation, which no helper
	 * takes off again after decapsulation, so that a bridge device would cut the inner packet; without them it is SKB_GSO_DODGY,
	 * and the next link would look for something to cut in a UDP datagram and drop it.
	 */
	if (bpf_skb_change_head(skb, OUTER, 0))
		return up(at->tap, FAILED);
	p = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	if (p + ETH_HLEN + OUTER + 20 > end) {
		count(FAILED);
		return TC_ACT_SHOT;
	}
	write_outer(p, flow, at, eni, &in, sum);
	if (step)
		lower_ttl(p + ETH_HLEN + OUTER, in.version, step);
	__sync_fetch_and_add(&flow->packets, 1);
	__sync_fetch_and_add(&flow->bytes, in.length);
	flow->last = now;
	count(ENCAPSULATED);
	return bpf_redirect(eni_index, 0);
}

/* The 14 + 68 bytes in front of a returned packet, all but what nobody judges: TOS, ID, TTL, source port, both checksums. */
static __always_inline int usual_outer(void *p, __u32 length)
{
	return U8(p, 14) == 0x45 && U8(p, 23) == IPPROTO_UDP && !(U16(p, 20) & bpf_htons(0x3fff)) && U32(p, 30) == settings.node_address
		&& bpf_ntohs(U16(p, 16)) == length - ETH_HLEN && U16(p, 36) == bpf_htons(6081)
		&& bpf_ntohs(U16(p, 38)) == length - ETH_HLEN - 20 && U16(p, 42) == bpf_htons(0x0800) && U32(p, 46) == 0
		&& U32(p, 50) == bpf_htonl(0x01080102) && U32(p, 62) == bpf_htonl(0x01080202) && U64(p, 66) == 0
		&& U32(p, 74) == bpf_htonl(0x01080301);
}

SEC("tc") int decap(struct __sk_buff *skb)
{
	__u32 tap = settings.eni_tap;
	if (skb->vlan_present)
		return drop_tagged(skb->ifindex);
	if (skb->pkt_type != TO_US || skb->protocol != IP4)
		return PASS;
	pull(skb, ETH_HLEN + OUTER + 60);
	void *p = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	if (p + ETH_HLEN + 20 > end || U8(p, 23) != IPPROTO_UDP)
		return PASS; /* health checks' TCP, ICMP: the node's own stack */
	if (settings.paused)
		return up(tap, PAUSED);
	if (p + ETH_HLEN + OUTER > end || !usual_outer(p, skb->len))
		return up(tap, TUNNEL);

	struct inner in = {};
	struct key4 key4;
	struct key6 key6;
	struct flow *flow;
	enum counter why;
	__u64 endpoint = U64(p, 54);
	__u32 source = U32(p, 26), cookie = U32(p, 78);
	__u16 type = U16(p, 44);
	p += ETH_HLEN + OUTER;
	if (type == IP4) {
		why = read4(p, end, endpoint, &in, &key4);
		if (why)
			return up(tap, why);
		flow = bpf_map_lookup_elem(&flows4, &key4);
	} else if (type == IP6) {
		why = read6(p, end, endpoint, &in, &key6);
		if (why)
			return up(tap, why);
		flow = bpf_map_lookup_elem(&flows6, &key6);
	} else
		return up(tap, TUNNEL);
	if (!flow)
		return up(tap, UNKNOWN_FLOW);
	__u32 index = flow->endpoint;
	struct interface *at = bpf_map_lookup_elem(&interfaces, &index);
	if (!at || at->endpoint != endpoint || flow->cookie != cookie || flow->target != source)
		return up(tap, TUNNEL);
	__u64 now = clock();
	__u8 step = ttl_step(in.from_high != flow->from_high);
	why = in.length + ETH_HLEN + OUTER == skb->len ? judge(skb, &in, flow, step, now) : UNUSUAL;
	if (why)
		return up(tap, why);

	if (step)
		lower_ttl(p, in.version, step);
	if (bpf_skb_adjust_room(skb, -OUTER, BPF_ADJ_ROOM_MAC,
		BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET | (type == IP6 ? BPF_F_ADJ_ROOM_DECAP_L3_IPV6 : 0))) {
		count(FAILED);
		return TC_ACT_SHOT;
	}
	p = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	if (p + ETH_HLEN > end) {
		count(FAILED);
		return TC_ACT_SHOT;
	}
	__builtin_memcpy(p, at->router, 6);
	__builtin_memcpy(p + 6, at->mac, 6);
	U16(p, 12) = type;
	__sync_fetch_and_add(&flow->returned_packets, 1);
	__sync_fetch_and_add(&flow->returned_bytes, in.length);
	flow->last = now;
	count(DECAPSULATED);
	return bpf_redirect(index, 0);
}

SEC("tc") int reflect(struct __sk_buff *skb)
{
	pull(skb, ETH_HLEN + 28);
	void *p = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	if (p + ETH_HLEN + 28 > end || U16(p, 12) != IP4 || U8(p, 23) != IPPROTO_UDP || U16(p, 36) != bpf_htons(6081))
		return PASS;
	__u32 mac = U32(p, 0), address = U32(p, 26);
	__u16 rest = U16(p, 4);
	U32(p, 0) = U32(p, 6);
	U16(p, 4) = U16(p, 10);
	U32(p, 6) = mac;
	U16(p, 10) = rest;
	U32(p, 26) = U32(p, 30);
	U32(p, 30) = address;
	return bpf_redirect(skb->ifindex, 0);
}

char _license[] SEC("license") = "GPL";
