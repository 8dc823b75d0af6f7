// SPDX-License-Identifier: GPL-2.0-or-later
/* Send UDP packets from one core: blast DEVICE DMAC SOURCE DESTINATION FRAME_BYTES FIRST_FLOW FLOWS SECONDS RATE COUNT
 *
 * Flow i has source port 10000 + i % 40000 and destination port 20000 + i / 40000. RATE is packets/s, 0 as fast as can
 * be; COUNT ends it earlier, 0 does not. Prints packets offered and seconds. Same words and answer as sender.py. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define BATCH 64
#define SOURCE_PORTS 40000
#define LONGEST_FRAME 2048

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static unsigned sum(void *p, int bytes, unsigned total)
{
	unsigned short *word = p;
	for (; bytes > 1; bytes -= 2)
		total += *word++;
	return total;
}

static unsigned short finish(unsigned total)
{
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return ~total;
}

int main(int words_given, char **words)
{
	if (words_given != 11)
		return 2;
	int size = atoi(words[5]), first = atoi(words[6]), flows = atoi(words[7]);
	double seconds = atof(words[8]), rate = atof(words[9]);
	unsigned long count = strtoul(words[10], NULL, 10);
	if (size < 42 || size % 2 || size > LONGEST_FRAME || flows < 1)
		return 2;
	int sock = socket(AF_PACKET, SOCK_RAW, 0), one = 1;
	struct sockaddr_ll here = {.sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(words[1])};
	if (bind(sock, (void *)&here, sizeof here) || setsockopt(sock, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one)) {
		perror(words[1]);
		return 1;
	}
	socklen_t known = sizeof here;
	if (getsockname(sock, (void *)&here, &known)) {
		perror(words[1]);
		return 1;
	}
	static unsigned char frames[BATCH][LONGEST_FRAME];
	struct mmsghdr messages[BATCH] = {0};
	struct iovec parts[BATCH];
	unsigned mac[6];
	struct in_addr source, destination;
	if (sscanf(words[2], "%x:%x:%x:%x:%x:%x", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5) != 6)
		return 2;
	if (!inet_aton(words[3], &source) || !inet_aton(words[4], &destination))
		return 2;
	for (int i = 0; i < BATCH; i++) {
		unsigned char *frame = frames[i];
		for (int k = 0; k < 6; k++)
			frame[k] = mac[k], frame[6 + k] = here.sll_addr[k];
		frame[12] = 8;
		struct iphdr *ip = (void *)(frame + 14);
		struct udphdr *udp = (void *)(ip + 1);
		*ip = (struct iphdr){.version = 4, .ihl = 5, .ttl = 64, .protocol = 17, .tot_len = htons(size - 14),
				     .saddr = source.s_addr, .daddr = destination.s_addr};
		ip->check = finish(sum(ip, 20, 0));
		udp->len = htons(size - 34);
		parts[i] = (struct iovec){frame, size};
		messages[i].msg_hdr.msg_iov = &parts[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	unsigned long tried = 0;
	double start = now(), passed;
	while ((passed = now() - start) < seconds && (!count || tried < count)) {
		if (rate > 0 && tried > passed * rate)
			continue;
		int batch = count && count - tried < BATCH ? count - tried : BATCH;
		for (int i = 0; i < batch; i++, tried++) {
			unsigned flow = first + tried % flows;
			struct iphdr *ip = (void *)(frames[i] + 14);
			struct udphdr *udp = (void *)(ip + 1);
			udp->source = htons(10000 + flow % SOURCE_PORTS);
			udp->dest = htons(20000 + flow / SOURCE_PORTS);
			udp->check = 0;
			udp->check = finish(sum(udp, size - 34, sum(&ip->saddr, 8, htons(17) + udp->len)));
			if (!udp->check)
				udp->check = 0xffff; /* RFC 768 */
		}
		for (int done = 0, step; done < batch; done += step > 0 ? step : 1) /* a frame that the kernel refuses is lost */
			step = sendmmsg(sock, messages + done, batch - done, 0);
	}
	printf("%lu %.6f\n", tried, now() - start);
	return 0;
}
