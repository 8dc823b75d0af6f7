// SPDX-License-Identifier: GPL-2.0-or-later
/* What both programs know of packets. The includer has the kernel's headers. */
#define IP4 bpf_htons(ETH_P_IP)
#define IP6 bpf_htons(ETH_P_IPV6)
#define TO_US 0 /* PACKET_HOST */
#define PASS TC_ACT_UNSPEC /* whoever comes next gets it, in the end the kernel's own stack */

/* Packets are not aligned: read and write them by halves and words where they lie. */
#define U8(p, offset) (*(__u8 *)((p) + (offset)))
#define U16(p, offset) (*(__u16 *)((p) + (offset)))
#define U32(p, offset) (*(__u32 *)((p) + (offset)))
#define U64(p, offset) (*(__u64 *)((p) + (offset)))

/* Have the first `wanted` bytes in one piece, or all there are: of a frame from a packet socket only the head may be. */
static __always_inline void pull(struct __sk_buff *skb, __u32 wanted)
{
	if (wanted > skb->len)
		wanted = skb->len;
	if ((void *)(long)skb->data + wanted > (void *)(long)skb->data_end)
		bpf_skb_pull_data(skb, wanted);
}

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Lower the TTL or hop limit; the IPv4 header's sum does not change (RFC 1624). Same result as wire.ttl. */
static __always_inline void lower_ttl(void *p, __u8 version, __u8 step)
{
	if (version == 6) {
		U8(p, 7) -= step;
		return;
	}
	__u32 sum = bpf_ntohs(U16(p, 10)) + (step << 8);
	if (sum >= 0xffff)
		sum -= 0xffff;
	U8(p, 8) -= step;
	U16(p, 10) = bpf_htons(sum);
}
