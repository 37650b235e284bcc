// dnsload PORT FILE SECONDS WINDOW [RATE]: asks a DNS server on 127.0.0.1 over UDP and prints how it did.
//
// FILE holds queries, each behind its length in two bytes, big end first; they are asked round and round, through
// several sockets. WINDOW is how many may be unanswered at once. RATE is queries a second; without it, or with 0,
// the window alone holds back, which is saturation. A reply counts if its ID is that of an open question.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, ROOM = 4096, SOCKETS = 8, IDS = 1 << 16, MAXQUERIES = 1 << 20, SAMPLES = 1 << 20, EVERY = 8 };

static const double GIVE_UP = 0.25; // seconds after which an open question counts as lost and its place is free

// The queries of the file, end to end.
static uint8_t *query[MAXQUERIES];
static uint16_t query_len[MAXQUERIES];
static int queries;

// Open questions by ID.
static double asked_at[IDS];
static bool open_question[IDS];

// What is being measured.
static struct {
	uint64_t sent, got, lost, bytes, rcode[16];
	double latency[SAMPLES];
	int samples;
} tally;

static struct {
	int fd[SOCKETS];
	int window, in_flight, next, turn;
	uint16_t id, oldest; // the next ID, and the oldest that may be open
	double rate, began;
} run;

static struct mmsghdr out[BATCH], in[BATCH];
static struct iovec out_vec[BATCH], in_vec[BATCH];
static uint8_t reply[BATCH][ROOM];

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static void fail(const char *what) {
	perror(what);
	exit(1);
}

static void read_queries(const char *name) {
	FILE *f = fopen(name, "rb");
	if (!f)
		fail(name);
	uint8_t head[2];
	while (queries < MAXQUERIES && fread(head, 1, 2, f) == 2) {
		uint16_t len = head[0] << 8 | head[1];
		uint8_t *q = malloc(len);
		if (!q || fread(q, 1, len, f) != len)
			fail(name);
		query[queries] = q;
		query_len[queries++] = len;
	}
	fclose(f);
	if (queries < BATCH) {
		fprintf(stderr, "dnsload: %s: %d queries; at least %d are needed\n", name, queries, BATCH);
		exit(1);
	}
}

static void open_sockets(int port) {
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int size = 8 << 20;
	for (int i = 0; i < SOCKETS; i++) {
		run.fd[i] = socket(AF_INET, SOCK_DGRAM, 0);
		if (run.fd[i] < 0 || setsockopt(run.fd[i], SOL_SOCKET, SO_RCVBUF, &size, sizeof size) < 0 ||
		    connect(run.fd[i], (struct sockaddr *)&at, sizeof at) < 0)
			fail("dnsload");
	}
	for (int i = 0; i < BATCH; i++) {
		in_vec[i] = (struct iovec){reply[i], ROOM};
		in[i].msg_hdr = (struct msghdr){.msg_iov = &in_vec[i], .msg_iovlen = 1};
		out[i].msg_hdr = (struct msghdr){.msg_iov = &out_vec[i], .msg_iovlen = 1};
	}
}

// give_up closes the questions that were asked too long ago. IDs are given in the order of time.
static void give_up(double t) {
	for (; run.oldest != run.id; run.oldest++) {
		if (!open_question[run.oldest])
			continue;
		if (t - asked_at[run.oldest] <= GIVE_UP)
			return;
		open_question[run.oldest] = false;
		run.in_flight--;
		tally.lost++;
	}
}

// room tells how many queries may be sent now.
static int room(double t) {
	int n = run.window - run.in_flight;
	int ids = (uint16_t)(run.oldest - run.id - 1); // none may be open twice
	n = n < ids ? n : ids;
	if (run.rate > 0) {
		double due = (t - run.began) * run.rate - tally.sent;
		if (n > due)
			n = due > 0 ? due : 0;
	}
	return n < BATCH ? n : BATCH;
}

// ask sends n queries through the next socket. No query stands twice in a batch: the file has more than a batch.
static void ask(int n, double t) {
	for (int i = 0; i < n; i++) {
		int q = (run.next + i) % queries;
		uint16_t id = run.id + i;
		query[q][0] = id >> 8;
		query[q][1] = id;
		out_vec[i] = (struct iovec){query[q], query_len[q]};
		open_question[id] = true;
		asked_at[id] = t;
	}
	int sent = sendmmsg(run.fd[run.turn], out, n, 0);
	sent = sent < 0 ? 0 : sent;
	for (int i = sent; i < n; i++)
		open_question[(uint16_t)(run.id + i)] = false;
	run.turn = (run.turn + 1) % SOCKETS;
	run.id += sent;
	run.next = (run.next + sent) % queries;
	run.in_flight += sent;
	tally.sent += sent;
}

static void count(const uint8_t *r, size_t len, double t) {
	uint16_t id = r[0] << 8 | r[1];
	if (len < 12 || !open_question[id])
		return;
	open_question[id] = false;
	run.in_flight--;
	tally.bytes += len;
	tally.rcode[r[3] & 15]++;
	if (tally.got++ % EVERY == 0 && tally.samples < SAMPLES)
		tally.latency[tally.samples++] = t - asked_at[id];
}

// hear takes every reply that is there and tells whether there was one.
static bool hear(void) {
	bool any = false;
	for (int s = 0; s < SOCKETS; s++) {
		int n = recvmmsg(run.fd[s], in, BATCH, MSG_DONTWAIT, NULL);
		double t = n > 0 ? now() : 0;
		for (int i = 0; i < n; i++)
			count(reply[i], in[i].msg_len, t);
		any |= n > 0;
	}
	return any;
}

// rest waits for a reply, or for the next query to be due.
static void rest(void) {
	struct pollfd p[SOCKETS];
	for (int s = 0; s < SOCKETS; s++)
		p[s] = (struct pollfd){.fd = run.fd[s], .events = POLLIN};
	struct timespec pause = {0, run.rate > 0 ? 200000 : 5000000};
	ppoll(p, SOCKETS, &pause, NULL);
}

static void measure(double seconds) {
	run.began = now();
	for (double t = run.began; t < run.began + seconds; t = now()) {
		give_up(t);
		int n = room(t);
		if (n > 0)
			ask(n, t);
		if (!hear() && n <= 0)
			rest();
	}
}

static int by_value(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double percentile(double share) {
	return tally.samples ? tally.latency[(int)(share * (tally.samples - 1))] * 1e6 : 0;
}

int main(int argc, char **argv) {
	if (argc < 5) {
		fprintf(stderr, "usage: dnsload PORT FILE SECONDS WINDOW [RATE]\n");
		return 2;
	}
	run.window = atoi(argv[4]);
	run.rate = argc > 5 ? atof(argv[5]) : 0;
	read_queries(argv[2]);
	open_sockets(atoi(argv[1]));
	measure(atof(argv[3]));
	double took = now() - run.began;
	qsort(tally.latency, tally.samples, sizeof *tally.latency, by_value);
	printf("qps=%.0f sent=%lu got=%lu lost=%lu noerror=%lu other=%lu bytes=%.1f p50us=%.0f p99us=%.0f p999us=%.0f\n", tally.got / took,
	       tally.sent, tally.got, tally.lost, tally.rcode[0], tally.got - tally.rcode[0],
	       tally.got ? (double)tally.bytes / tally.got : 0, percentile(0.5), percentile(0.99), percentile(0.999));
}
