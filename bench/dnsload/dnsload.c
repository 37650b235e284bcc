// dnsload [ADDRESS:]PORT FILE SECONDS WINDOW [RATE [BURST [CORE [PORTS]]]]: asks a DNS server over UDP (on 127.0.0.1, or the IPv4 address
// given) and prints how it did.
//
// FILE holds queries, each behind its length in two bytes, big end first; they are asked round and round, through
// several sockets. WINDOW is how many may be unanswered at once. RATE is queries a second; without it, or with 0,
// the window alone holds back, which is saturation. A reply counts if its ID is that of an open question. At a fixed
// rate queries come in bursts of BURST (1), as network cards deliver them, and latency counts from when the query was
// due, so that what keeps the load waiting is not left out. CORE is the server's: busy is the share of the time in which
// it was not idle. PORTS (8) is how many sockets there are, each with a source port of its own. With more than 64, each
// query goes through the next one, as from resolvers, which take another port for each.
//
// lateus is how far the load fell behind the rate at most; batch is how many queries it sent at once: near 64 at
// saturation, the load is the limit and not the server.
//
// It never sleeps: it wants a core of its own, and in return no server pays for waking it. Queries of equal length go
// to the kernel as one message that it cuts up (UDP_SEGMENT), which halves the price of sending, so that the server's
// core is full before the load's.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, ROOM = 4096, MAXPORTS = 512, IDS = 1 << 16, MAXQUERIES = 1 << 22 };
enum { FINE = 64, BUCKETS = 40 * FINE }; // of the histogram: 64 buckets between powers of two, up to 2^40 ns

static const uint64_t GIVE_UP = 250 * 1000 * 1000; // ns after which an open question counts as lost and its place is free

// The queries of the file, end to end.
static uint8_t **query;
static uint16_t *query_len;
static int queries;

// Open questions by ID: when they were asked (0: not open), and through which socket.
static uint64_t asked_at[IDS];
static uint16_t asked_through[IDS];

// What is being measured. Times are in ns.
static struct {
	uint64_t sent, got, lost, bytes, rcode[16], truncated, histogram[BUCKETS], worst, latest, batches;
} tally;

static struct {
	int fd[MAXPORTS], open[MAXPORTS]; // sockets, and how many questions are open on each
	int ports, window, in_flight, next, turn;
	uint16_t id, oldest; // the next ID, and the oldest that may be open
	double interval;     // ns between queries, 0 where only the window holds back
	uint64_t began, burst;
} run;

// A message is queries of equal length that are sent together; the control message tells the kernel where to cut.
static struct {
	struct iovec part[BATCH];
	int parts;
	union {
		char room[CMSG_SPACE(sizeof(uint16_t))];
		struct cmsghdr align;
	} control;
} message[BATCH];

static struct mmsghdr out[BATCH], in[BATCH];
static struct iovec in_vec[BATCH];
static uint8_t reply[BATCH][ROOM];

static uint64_t now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void fail(const char *what) {
	perror(what);
	exit(1);
}

static void *need(void *memory) {
	if (!memory)
		fail("dnsload: memory");
	return memory;
}

static void read_queries(const char *name) {
	FILE *f = fopen(name, "rb");
	if (!f || fseek(f, 0, SEEK_END) < 0)
		fail(name);
	size_t size = ftell(f), at = 0;
	rewind(f);
	uint8_t *text = need(malloc(size + 1));
	if (fread(text, 1, size, f) != size)
		fail(name);
	fclose(f);
	query = need(calloc(MAXQUERIES, sizeof *query));
	query_len = need(calloc(MAXQUERIES, sizeof *query_len));
	for (; queries < MAXQUERIES && at + 2 <= size; queries++) {
		uint16_t len = text[at] << 8 | text[at + 1];
		if (len < 12 || len > 512 || at + 2 + len > size) {
			fprintf(stderr, "dnsload: %s: query %d is cut off, or has not 12 to 512 bytes\n", name, queries);
			exit(1);
		}
		query[queries] = text + at + 2;
		query_len[queries] = len;
		at += 2 + len;
	}
	if (queries < BATCH) {
		fprintf(stderr, "dnsload: %s: %d queries; at least %d are needed\n", name, queries, BATCH);
		exit(1);
	}
}

// core_time reads how long a core has been idle, and how long there was, in ticks: proc(5), stat.
static void core_time(int core, double *idle, double *all) {
	FILE *f = fopen("/proc/stat", "r");
	char line[512], want[16];
	*idle = *all = 0;
	snprintf(want, sizeof want, "cpu%d ", core);
	while (f && fgets(line, sizeof line, f)) {
		if (strncmp(line, want, strlen(want)))
			continue;
		char *p = line + strlen(want);
		for (int i = 0; i < 8; i++) { // user nice system idle iowait irq softirq steal
			double ticks = strtod(p, &p);
			*all += ticks;
			*idle += i == 3 || i == 4 ? ticks : 0;
		}
	}
	if (f)
		fclose(f);
}

static struct sockaddr_in parse_address(const char *text) {
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const char *colon = strchr(text, ':');
	if (colon) {
		char host[64] = "";
		if ((size_t)(colon - text) < sizeof host)
			memcpy(host, text, colon - text);
		if (inet_pton(AF_INET, host, &at.sin_addr) != 1) {
			fprintf(stderr, "dnsload: %s: not an IPv4 address and a port\n", text);
			exit(2);
		}
	}
	at.sin_port = htons(atoi(colon ? colon + 1 : text));
	return at;
}

static void open_sockets(struct sockaddr_in at) {
	int size = 8 << 20;
	for (int i = 0; i < run.ports; i++) {
		run.fd[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
		if (run.fd[i] < 0 || connect(run.fd[i], (struct sockaddr *)&at, sizeof at) < 0)
			fail("dnsload");
		if (setsockopt(run.fd[i], SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
			setsockopt(run.fd[i], SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	}
	for (int i = 0; i < BATCH; i++) {
		in_vec[i] = (struct iovec){reply[i], ROOM};
		in[i].msg_hdr = (struct msghdr){.msg_iov = &in_vec[i], .msg_iovlen = 1};
	}
}

static void close_question(uint16_t id) {
	asked_at[id] = 0;
	run.in_flight--;
	run.open[asked_through[id]]--;
}

// give_up closes the questions that were asked too long ago. IDs are given in the order of time.
static void give_up(uint64_t t) {
	for (; run.oldest != run.id; run.oldest++) {
		if (!asked_at[run.oldest])
			continue;
		if (t < asked_at[run.oldest] + GIVE_UP)
			return;
		close_question(run.oldest);
		tally.lost++;
	}
}

// due is when a query of a paced run is to be sent: with all of its burst.
static uint64_t due(uint64_t number) { return run.began + (uint64_t)(number / run.burst * run.burst * run.interval); }

// room tells how many queries may be sent now.
static int room(uint64_t t) {
	int n = run.window - run.in_flight;
	int ids = (uint16_t)(run.oldest - run.id - 1); // none may be open twice
	n = n < ids ? n : ids;
	n = n < BATCH ? n : BATCH;
	if (run.interval > 0) {
		int ready = 0;
		while (ready < n && due(tally.sent + ready) <= t)
			ready++;
		n = ready;
	}
	return n;
}

// gather sorts the next n queries into messages by their length and tells how many messages there are. No query
// stands twice in a batch: the file has more than a batch.
static int gather(int n) {
	int messages = 0;
	for (int i = 0; i < n; i++) {
		int q = (run.next + i) % queries, m = 0;
		uint16_t id = run.id + i;
		query[q][0] = id >> 8;
		query[q][1] = id;
		while (m < messages && message[m].part[0].iov_len != query_len[q])
			m++;
		if (m == messages)
			message[messages++].parts = 0;
		message[m].part[message[m].parts++] = (struct iovec){query[q], query_len[q]};
	}
	for (int m = 0; m < messages; m++) {
		out[m].msg_hdr = (struct msghdr){.msg_iov = message[m].part, .msg_iovlen = message[m].parts};
		if (message[m].parts == 1)
			continue;
		uint16_t len = message[m].part[0].iov_len;
		out[m].msg_hdr.msg_control = message[m].control.room;
		out[m].msg_hdr.msg_controllen = sizeof message[m].control.room;
		struct cmsghdr *c = CMSG_FIRSTHDR(&out[m].msg_hdr);
		*c = (struct cmsghdr){.cmsg_level = IPPROTO_UDP, .cmsg_type = UDP_SEGMENT, .cmsg_len = CMSG_LEN(sizeof len)};
		memcpy(CMSG_DATA(c), &len, sizeof len);
	}
	return messages;
}

// ask sends n queries through the next socket. What the kernel does not take is asked later, under other IDs.
static void ask(int n, uint64_t t) {
	int messages = gather(n), s = run.turn;
	for (int i = 0; i < n; i++) {
		asked_at[(uint16_t)(run.id + i)] = run.interval > 0 ? due(tally.sent + i) : t;
		asked_through[(uint16_t)(run.id + i)] = s;
	}
	run.in_flight += n;
	run.open[s] += n;
	int sent = sendmmsg(run.fd[s], out, messages, 0), refused = 0;
	if (sent < 0 && errno != EAGAIN && errno != ENOBUFS && errno != ECONNREFUSED)
		fail("dnsload: sendmmsg");
	for (int m = sent < 0 ? 0 : sent; m < messages; m++)
		for (int i = 0; i < message[m].parts; i++, refused++) {
			const uint8_t *q = message[m].part[i].iov_base;
			close_question(q[0] << 8 | q[1]);
		}
	if (run.interval > 0 && t - due(tally.sent) > tally.latest)
		tally.latest = t - due(tally.sent);
	run.turn = (s + 1) % run.ports;
	run.id += n;
	run.next = (run.next + n) % queries;
	tally.sent += n - refused;
	tally.batches++;
}

// ask_apart sends n queries, each through the next socket.
static void ask_apart(int n, uint64_t t) {
	for (int i = 0; i < n; i++)
		ask(1, t);
}

// bucket gives the place in the histogram: exact below 64 ns, then within one part in 64.
static int bucket(uint64_t ns) {
	if (ns < FINE)
		return ns;
	int power = 63 - __builtin_clzll(ns); // at least 6
	int at = (power - 5) * FINE + (ns >> (power - 6)) - FINE;
	return at < BUCKETS ? at : BUCKETS - 1;
}

// bucket_end is the smallest number of ns that is beyond the bucket.
static double bucket_end(int at) {
	if (at < FINE)
		return at + 1;
	return (double)(at % FINE + FINE + 1) * (double)(1ull << (at / FINE - 1));
}

static void count(const uint8_t *r, size_t len, uint64_t t) {
	uint16_t id = r[0] << 8 | r[1];
	if (len < 12 || !asked_at[id])
		return;
	uint64_t took = t > asked_at[id] ? t - asked_at[id] : 0;
	close_question(id);
	tally.got++;
	tally.bytes += len;
	tally.rcode[r[3] & 15]++;
	tally.truncated += r[2] >> 1 & 1;
	tally.histogram[bucket(took)]++;
	if (took > tally.worst)
		tally.worst = took;
}

// hear takes the replies that are there, up to a batch from each socket that has open questions.
static void hear(void) {
	for (int s = 0; s < run.ports; s++) {
		if (run.open[s] == 0)
			continue;
		int n = recvmmsg(run.fd[s], in, BATCH, MSG_DONTWAIT, NULL);
		uint64_t t = n > 0 ? now() : 0;
		for (int i = 0; i < n; i++)
			count(reply[i], in[i].msg_len, t);
	}
}

static void measure(double seconds) {
	run.began = now();
	uint64_t end = run.began + (uint64_t)(seconds * 1e9);
	for (uint64_t t = run.began; t < end; t = now()) {
		give_up(t);
		for (int n = room(t), more = 8; n > 0 && more > 0; n = room(t), more--)
			run.ports > BATCH ? ask_apart(n, t) : ask(n, t);
		hear();
	}
}

// percentile in microseconds: the end of the bucket in which it lies.
static double percentile(double share) {
	uint64_t below = 0, rank = (uint64_t)(share * tally.got);
	for (int at = 0; at < BUCKETS; at++) {
		below += tally.histogram[at];
		if (below > rank)
			return bucket_end(at) / 1e3;
	}
	return tally.worst / 1e3;
}

int main(int argc, char **argv) {
	if (argc < 5) {
		fprintf(stderr, "usage: dnsload [ADDRESS:]PORT FILE SECONDS WINDOW [RATE [BURST [CORE [PORTS]]]]\n");
		return 2;
	}
	run.window = atoi(argv[4]);
	double rate = argc > 5 ? atof(argv[5]) : 0;
	run.interval = rate > 0 ? 1e9 / rate : 0;
	run.burst = argc > 6 && atoi(argv[6]) > 1 ? atoi(argv[6]) : 1;
	int core = argc > 7 ? atoi(argv[7]) : -1;
	run.ports = argc > 8 ? atoi(argv[8]) : 8;
	if (run.ports < 1 || run.ports > MAXPORTS) {
		fprintf(stderr, "dnsload: %d ports; 1 to %d can be had\n", run.ports, MAXPORTS);
		return 2;
	}
	read_queries(argv[2]);
	open_sockets(parse_address(argv[1]));
	double idle[2], all[2];
	core_time(core, &idle[0], &all[0]);
	measure(atof(argv[3]));
	core_time(core, &idle[1], &all[1]);
	double took = (now() - run.began) * 1e-9;
	printf("qps=%.0f sent=%lu got=%lu lost=%lu noerror=%lu nxdomain=%lu other=%lu truncated=%lu bytes=%.1f p50us=%.1f p90us=%.1f p99us=%.1f "
	       "p999us=%.1f maxus=%.1f lateus=%.1f batch=%.1f seconds=%.3f busy=%.3f\n",
	       tally.got / took, tally.sent, tally.got, tally.lost, tally.rcode[0], tally.rcode[3], tally.got - tally.rcode[0],
	       tally.truncated, tally.got ? (double)tally.bytes / tally.got : 0, percentile(0.5), percentile(0.9), percentile(0.99),
	       percentile(0.999), tally.worst * 1e-3, tally.latest * 1e-3, tally.batches ? (double)tally.sent / tally.batches : 0, took,
	       all[1] > all[0] ? 1 - (idle[1] - idle[0]) / (all[1] - all[0]) : 0);
}
