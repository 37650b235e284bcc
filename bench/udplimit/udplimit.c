// udplimit PORT [BYTES [bundle]]: what the kernel's UDP path allows, as the floor to compare servers with.
//
// Answers each datagram with itself, its QR bit set, padded to BYTES where that is more (so that it sends as much as
// the server it is compared with). One thread, one socket, recvmmsg and sendmmsg in batches. It decides nothing.
// With bundle, answers of one length to one client go to the kernel as one message that it cuts up (UDP_SEGMENT).
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 64, ROOM = 4096, HEADER = 12 };

static uint8_t packet[BATCH][ROOM];
static struct sockaddr_in peer[BATCH];
static struct iovec vec[BATCH];
static struct mmsghdr msg[BATCH];

static int listen_at(int port) {
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	int size = 8 << 20;
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0) // beyond rmem_max, which takes root
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0) {
		perror("udplimit");
		exit(1);
	}
	return fd;
}

static int receive(int fd) {
	for (int i = 0; i < BATCH; i++) {
		vec[i] = (struct iovec){packet[i], ROOM};
		msg[i].msg_hdr = (struct msghdr){.msg_name = &peer[i], .msg_namelen = sizeof peer[i], .msg_iov = &vec[i], .msg_iovlen = 1};
	}
	return recvmmsg(fd, msg, BATCH, MSG_WAITFORONE, NULL);
}

// A bundle is what goes out as one message.
static struct {
	struct iovec part[BATCH];
	int parts, first; // first: the datagram whose sender and length all of its parts have
	union {
		char room[CMSG_SPACE(sizeof(uint16_t))];
		struct cmsghdr align;
	} control;
} bundle[BATCH];
static struct mmsghdr out[BATCH];

static bool alike(int i, int j) {
	return vec[i].iov_len == vec[j].iov_len && peer[i].sin_port == peer[j].sin_port && peer[i].sin_addr.s_addr == peer[j].sin_addr.s_addr;
}

// gather sorts n answers into messages and tells how many there are.
static int gather(int n) {
	int messages = 0;
	for (int i = 0; i < n; i++) {
		int m = 0;
		while (m < messages && !alike(bundle[m].first, i))
			m++;
		if (m == messages) {
			bundle[m].parts = 0;
			bundle[m].first = i;
			messages++;
		}
		bundle[m].part[bundle[m].parts++] = vec[i];
	}
	for (int m = 0; m < messages; m++) {
		int first = bundle[m].first;
		out[m].msg_hdr = (struct msghdr){
		    .msg_name = &peer[first], .msg_namelen = sizeof peer[first], .msg_iov = bundle[m].part, .msg_iovlen = bundle[m].parts};
		if (bundle[m].parts == 1)
			continue;
		uint16_t len = vec[first].iov_len;
		out[m].msg_hdr.msg_control = bundle[m].control.room;
		out[m].msg_hdr.msg_controllen = sizeof bundle[m].control.room;
		struct cmsghdr *c = CMSG_FIRSTHDR(&out[m].msg_hdr);
		*c = (struct cmsghdr){.cmsg_level = IPPROTO_UDP, .cmsg_type = UDP_SEGMENT, .cmsg_len = CMSG_LEN(sizeof len)};
		memcpy(CMSG_DATA(c), &len, sizeof len);
	}
	return messages;
}

static void answer(int fd, int n, size_t pad, bool bundled) {
	for (int i = 0; i < n; i++) {
		size_t len = msg[i].msg_len;
		if (len >= HEADER)
			packet[i][2] |= 0x80;
		vec[i].iov_len = len < pad ? pad : len;
	}
	struct mmsghdr *all = msg;
	if (bundled) {
		n = gather(n);
		all = out;
	}
	for (int sent = 0; sent < n;) {
		int more = sendmmsg(fd, all + sent, n - sent, 0);
		if (more <= 0)
			return; // what cannot be sent is lost, as in any server
		sent += more;
	}
}

int main(int argc, char **argv) {
	if (argc < 2) {
		fprintf(stderr, "usage: udplimit PORT [BYTES [bundle]]\n");
		return 2;
	}
	size_t pad = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	bool bundled = argc > 3 && strcmp(argv[3], "bundle") == 0;
	int fd = listen_at(atoi(argv[1]));
	for (;;) {
		int n = receive(fd);
		if (n > 0)
			answer(fd, n, pad < ROOM ? pad : ROOM, bundled);
		else if (n < 0 && errno != EINTR && errno != EAGAIN && errno != ECONNREFUSED)
			return perror("udplimit"), 1;
	}
}
