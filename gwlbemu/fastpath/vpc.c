// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Shortcuts through a VPC: what its bridges and route tables say, without the way through the kernel's bridge and IP stack.
 *
 *   forward          ingress of every interface of a fabric or router namespace: looks up where the frame goes and puts it there
 *   forward_guarded  the same at the port of an instance, for what is plainly the instance's own
 *
 * It decides nothing. Where a MAC is stands in `places`, one map per namespace, filled from the plan's forwarding entries; where an
 * address is routed is asked of the kernel's own route and neighbour tables. Whatever is unusual (broadcast, fragments, IP options, a
 * TTL that runs out, a packet that does not fit, GENEVE on its way through a router, an address of the router itself, a port with a
 * rate) goes on to the kernel as if nobody stood here. So does what the port of an instance has to drop: it is dropped and counted there, by nftables.
 *
 * Layouts of `settings` and `place` are mirrored in forwarding.py.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "packet.h"

#define AF_INET 2
#define AF_INET6 10
#define GENEVE 6081

/* Odd; the high bits of its product with a MAC are the MAC's place, another one for each MAC that the namespace knows. */
struct settings {
	__u64 factor;
	__u32 shift;
};
struct settings settings SEC(".data");

/* What the security groups of an instance let in, and answers to it out, with no record of the flow. Addresses as in packets. */
struct open_way {
	__u32 network;
	__u32 mask;
	__u16 first_port; /* of the instance */
	__u16 last_port;
	__u8 protocol; /* 0 in what is not used */
	__u8 pad[3];
};
#define OPEN_WAYS 4

/* With `bridge` the MAC is the router's own, at interface `index`; otherwise it is at the other end of `index`. */
struct place {
	__u64 mac;
	__u32 index;
	__u32 bridge; /* the router's bridge: what is routed there and has no place is the kernel's */
	__u32 guard;
	__u32 address; /* of the instance that is there; 0 for none */
	__u64 address6[2];
	struct open_way open_ways[OPEN_WAYS];
};
#define GUARDED 1 /* an instance is there: only plain packets, and from there only with this MAC */
#define CHECKED 2 /* and only from and for its addresses */
#define ONE_WAY 4 /* what goes there is the kernel's */
#define STATEFUL 8 /* it has security groups: only what goes an open way */

/* An array with gaps: the kernel looks into it without a call, and every packet asks some ten times on its way. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct place);
} places SEC(".maps");

static __always_inline struct place *find(void *mac)
{
	__u64 key = U16(mac, 0) | (__u32)U16(mac, 2) << 16 | (__u64)U16(mac, 4) << 32; /* in bpf_fib_lookup it is not aligned */
	__u32 number = key * settings.factor >> settings.shift;
	struct place *place = bpf_map_lookup_elem(&places, &number);
	return place && place->mac == key && key ? place : 0; /* in a gap the MAC is 0 */
}

static __always_inline int hand_over(struct __sk_buff *skb, __u32 index)
{
	if (skb->pkt_type != TO_US) /* it was somebody else's MAC for the interface it came in at */
		bpf_skb_change_type(skb, TO_US);
	return bpf_redirect_peer(index, 0);
}

/* How long the packet is on a wire, for the MTU; 0 when the kernel has to look at it. Of a TCP super-packet, one segment. */
static __always_inline __u16 wire_length(struct __sk_buff *skb, void *upper, void *end, __u8 protocol, __u32 head, __u32 length)
{
	if (protocol == IPPROTO_UDP && (upper + 8 > end || U16(upper, 2) == bpf_htons(GENEVE)))
		return 0; /* its TTL is restored on the kernel's way */
	if (!skb->gso_size)
		return length + ETH_HLEN == skb->len ? length : 0;
	if (protocol != IPPROTO_TCP || upper + 20 > end)
		return 0;
	return head + (U8(upper, 12) >> 4) * 4 + skb->gso_size;
}

/* Fill in what the route depends on; 0 when the kernel has to look at the packet. */
static __always_inline int read4(struct __sk_buff *skb, void *p, void *end, struct bpf_fib_lookup *fib)
{
	if (p + 20 > end || U8(p, 0) != 0x45 || U16(p, 6) & bpf_htons(0x3fff) || U8(p, 8) <= 1)
		return 0;
	__u8 source = U8(p, 12), destination = U8(p, 16); /* no host has 0, 127 or a group's address */
	if (source == 0 || source == 127 || source >= 224 || destination == 0 || destination == 127 || destination >= 224)
		return 0;
	if (fold((__u64)U32(p, 0) + U32(p, 4) + U32(p, 8) + U32(p, 12) + U32(p, 16)) != 0xffff)
		return 0; /* the header's checksum is wrong */
	fib->family = AF_INET;
	fib->tos = U8(p, 1);
	fib->l4_protocol = U8(p, 9);
	fib->ipv4_src = U32(p, 12);
	fib->ipv4_dst = U32(p, 16);
	fib->tot_len = wire_length(skb, p + 20, end, U8(p, 9), 20, bpf_ntohs(U16(p, 2)));
	return fib->tot_len;
}

static __always_inline int read6(struct __sk_buff *skb, void *p, void *end, struct bpf_fib_lookup *fib)
{
	if (p + 40 > end || U8(p, 0) >> 4 != 6 || U8(p, 7) <= 1)
		return 0;
	__u8 next = U8(p, 6), source = U8(p, 8), destination = U8(p, 24);
	if (next != IPPROTO_TCP && next != IPPROTO_UDP && next != IPPROTO_ICMPV6)
		return 0;
	if (source == 0 || source >= 0xfe || destination == 0 || destination >= 0xfe)
		return 0; /* unspecified, loopback, link-local, groups */
	fib->family = AF_INET6;
	fib->l4_protocol = next;
	__builtin_memcpy(fib->ipv6_src, p + 8, 16);
	__builtin_memcpy(fib->ipv6_dst, p + 24, 16);
	fib->tot_len = wire_length(skb, p + 40, end, next, 40, bpf_ntohs(U16(p, 4)) + 40);
	return fib->tot_len;
}

/* Whether a packet is one that nftables would not look at twice, by its lengths; no fragment, no options, no neighbour discovery. */
static __always_inline int plain(struct __sk_buff *skb, void *p, void *end)
{
	__u32 length;
	if (skb->protocol == IP4) {
		if (p + 20 > end || U8(p, 0) != 0x45 || U16(p, 6) & bpf_htons(0x3fff))
			return 0;
		length = bpf_ntohs(U16(p, 2));
		return length >= 20 && length + ETH_HLEN <= skb->len;
	}
	if (skb->protocol != IP6 || p + 40 > end || U8(p, 0) >> 4 != 6)
		return 0;
	length = bpf_ntohs(U16(p, 4));
	return (U8(p, 6) == IPPROTO_TCP || U8(p, 6) == IPPROTO_UDP) && length && length + 40 + ETH_HLEN <= skb->len;
}

/* Whether the address at `offset4` or `offset6` is that of the instance at `place`. */
static __always_inline int is_own(struct __sk_buff *skb, void *p, void *end, struct place *place, __u32 offset4, __u32 offset6)
{
	if (skb->protocol == IP4)
		return p + 20 <= end && U32(p, offset4) == place->address;
	return p + 40 <= end && place->address6[0] && U64(p, offset6) == place->address6[0] && U64(p, offset6 + 8) == place->address6[1];
}

/* Whether a plain packet goes an open way of `place`: the peer's address and the instance's port are at these offsets. */
static __always_inline int is_open(struct __sk_buff *skb, void *p, void *end, struct place *place, __u32 peer_at, __u32 port_at)
{
	if (skb->protocol != IP4 || p + 28 > end)
		return 0;
	__u8 protocol = U8(p, 9);
	__u32 peer = U32(p, peer_at), length = bpf_ntohs(U16(p, 2));
	__u16 port = bpf_ntohs(U16(p, port_at));
	if (protocol == IPPROTO_TCP ? length < 40 : protocol != IPPROTO_UDP || length < 28)
		return 0; /* nftables drops what ends in its transport header */
	for (int i = 0; i < OPEN_WAYS; i++) {
		struct open_way *way = &place->open_ways[i];
		if (way->protocol == protocol && !((peer ^ way->network) & way->mask) && port >= way->first_port && port <= way->last_port)
			return 1;
	}
	return 0;
}

static __always_inline int may_get(struct __sk_buff *skb, void *p, void *end, struct place *to)
{
	if (to->guard & CHECKED && !is_own(skb, p, end, to, 16, 24))
		return 0;
	return !(to->guard & STATEFUL) || is_open(skb, p, end, to, 12, 22);
}

static __always_inline int may_send(struct __sk_buff *skb, void *p, void *end, struct place *from)
{
	if (from->guard & CHECKED && !is_own(skb, p, end, from, 12, 8))
		return 0;
	if (!(from->guard & STATEFUL) || is_open(skb, p, end, from, 16, 20))
		return 1;
	/* What comes back from an appliance: the ruleset, too, lets GENEVE out without a record. */
	return skb->protocol == IP4 && p + 28 <= end && U8(p, 9) == IPPROTO_UDP && U16(p, 22) == bpf_htons(GENEVE) && bpf_ntohs(U16(p, 2)) >= 28;
}

/* The packet is for the router: ask the kernel where it goes, and take a hop off as the kernel would. */
static __always_inline int route(struct __sk_buff *skb, struct place *router)
{
	void *p = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct bpf_fib_lookup fib = {.ifindex = router->index};
	__u16 type = skb->protocol;
	if (type == IP4 ? !read4(skb, p + ETH_HLEN, end, &fib) : type != IP6 || !read6(skb, p + ETH_HLEN, end, &fib))
		return PASS;
	if (bpf_fib_lookup(skb, &fib, sizeof fib, 0))
		return PASS;
	struct place *there = find(fib.dmac);
	if (there ? there->guard & ONE_WAY || !may_get(skb, p + ETH_HLEN, end, there) : fib.ifindex == router->bridge)
		return PASS;
	if (p + ETH_HLEN + 20 > end)
		return PASS;
	__builtin_memcpy(p, fib.dmac, 6);
	__builtin_memcpy(p + 6, fib.smac, 6);
	lower_ttl(p + ETH_HLEN, type == IP6 ? 6 : 4, 1);
	return hand_over(skb, there ? there->index : fib.ifindex);
}

static __always_inline int forward_any(struct __sk_buff *skb, int guarded)
{
	if (skb->vlan_present)
		return PASS;
	pull(skb, ETH_HLEN + 60);
	void *p = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	if (p + ETH_HLEN > end)
		return PASS;
	if (guarded) {
		struct place *from = find(p + 6);
		if (!from || from->index != skb->ifindex || !plain(skb, p + ETH_HLEN, end))
			return PASS;
		if (!may_send(skb, p + ETH_HLEN, end, from))
			return PASS;
	}
	struct place *to = find(p);
	if (!to || to->guard & ONE_WAY)
		return PASS;
	if (to->bridge)
		return route(skb, to);
	if (to->guard && !((guarded || plain(skb, p + ETH_HLEN, end)) && may_get(skb, p + ETH_HLEN, end, to)))
		return PASS;
	return to->index == skb->ifindex ? PASS : hand_over(skb, to->index);
}

SEC("tc") int forward(struct __sk_buff *skb)
{
	return forward_any(skb, 0);
}

SEC("tc") int forward_guarded(struct __sk_buff *skb)
{
	return forward_any(skb, 1);
}

char _license[] SEC("license") = "GPL";
