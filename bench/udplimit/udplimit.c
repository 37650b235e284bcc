// udplimit PORT [BYTES]: what the kernel's UDP path allows, as the floor to compare servers with.
//
// Answers each datagram with itself, its QR bit set, padded to BYTES where that is more (so that it sends as much as
// the server it is compared with). One thread, one socket, recvmmsg and sendmmsg in batches. It decides nothing.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
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

static void answer(int fd, int n, size_t pad) {
	for (int i = 0; i < n; i++) {
		size_t len = msg[i].msg_len;
		if (len >= HEADER)
			packet[i][2] |= 0x80;
		vec[i].iov_len = len < pad ? pad : len;
	}
	for (int sent = 0; sent < n;) {
		int more = sendmmsg(fd, msg + sent, n - sent, 0);
		if (more <= 0)
			return; // what cannot be sent is lost, as in any server
		sent += more;
	}
}

int main(int argc, char **argv) {
	if (argc < 2) {
		fprintf(stderr, "usage: udplimit PORT [BYTES]\n");
		return 2;
	}
	size_t pad = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	int fd = listen_at(atoi(argv[1]));
	for (;;) {
		int n = receive(fd);
		if (n > 0)
			answer(fd, n, pad < ROOM ? pad : ROOM);
		else if (n < 0 && errno != EINTR && errno != EAGAIN && errno != ECONNREFUSED)
			return perror("udplimit"), 1;
	}
}
