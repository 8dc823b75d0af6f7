// SPDX-License-Identifier: GPL-2.0-or-later
/* Send UDP packets as fast as one core can: blast DEVICE DMAC SOURCE DESTINATION FRAME_BYTES FLOWS SECONDS [FIRST_PORT]. Flow i has source port
 * FIRST_PORT + i % 40000 and source address + i / 40000. Prints packets sent and seconds. */
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
#define FLOWS_PER_ADDRESS 40000

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

int main(int count, char **words)
{
	if (count < 8)
		return 2;
	int size = atoi(words[5]), flows = atoi(words[6]), first = count > 8 ? atoi(words[8]) : 10000;
	double seconds = atof(words[7]);
	int sock = socket(AF_PACKET, SOCK_RAW, 0), one = 1;
	struct sockaddr_ll here = {.sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(words[1])};
	if (bind(sock, (void *)&here, sizeof here) || setsockopt(sock, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one)) {
		perror(words[1]);
		return 1;
	}
	static unsigned char frames[BATCH][2048];
	struct mmsghdr messages[BATCH] = {0};
	struct iovec parts[BATCH];
	unsigned mac[6];
	sscanf(words[2], "%x:%x:%x:%x:%x:%x", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5);
	struct in_addr source, destination;
	inet_aton(words[3], &source);
	inet_aton(words[4], &destination);
	for (int i = 0; i < BATCH; i++) {
		unsigned char *frame = frames[i];
		for (int k = 0; k < 6; k++)
			frame[k] = mac[k];
		frame[6] = 2;
		frame[12] = 8;
		struct iphdr *ip = (void *)(frame + 14);
		struct udphdr *udp = (void *)(ip + 1);
		*ip = (struct iphdr){.version = 4, .ihl = 5, .ttl = 64, .protocol = 17, .tot_len = htons(size - 14), .daddr = destination.s_addr};
		udp->dest = htons(9);
		udp->len = htons(size - 34);
		parts[i] = (struct iovec){frame, size};
		messages[i].msg_hdr.msg_iov = &parts[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	unsigned long sent = 0;
	unsigned flow = 0;
	double start = now();
	while (now() - start < seconds) {
		for (int i = 0; i < BATCH; i++, flow = (flow + 1) % flows) {
			struct iphdr *ip = (void *)(frames[i] + 14);
			struct udphdr *udp = (void *)(ip + 1);
			ip->saddr = htonl(ntohl(source.s_addr) + flow / FLOWS_PER_ADDRESS);
			ip->check = 0;
			ip->check = finish(sum(ip, 20, 0));
			udp->source = htons(first + flow % FLOWS_PER_ADDRESS);
			udp->check = 0;
			udp->check = finish(sum(udp, size - 34, sum(&ip->saddr, 8, htons(17) + udp->len)));
		}
		int done = sendmmsg(sock, messages, BATCH, 0);
		if (done > 0)
			sent += done;
	}
	printf("%lu %.3f\n", sent, now() - start);
	return 0;
}
