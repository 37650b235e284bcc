package checks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
)

// Bounds of what a dns check reads: the size of a datagram that resolvers ask for, and replies to other questions.
const (
	datagramLimit = 1232
	strayMax      = 16
)

func compileDNS(c *probe.Check, _ string, m *spec.Monitor) error {
	q := m.DNS
	if q.Name == "" {
		return errors.New("dns.name is missing")
	}
	if _, known := dns.StringToType[q.Type]; !known {
		return fmt.Errorf("dns.type %q is not known", q.Type)
	}
	c.DNS = &probe.Query{Name: q.Name, Type: q.Type, Transport: q.Transport, Rcode: q.Rcode, Answers: q.Answers}
	return nil
}

func runDNS(ctx context.Context, a *attempt) error {
	network := "tcp"
	if a.DNS.Transport == "udp" {
		network = "udp"
	}
	conn, done, err := a.dial(ctx, network)
	if err != nil {
		return err
	}
	defer done()
	if a.DNS.Transport == "tls" {
		if conn, err = a.secure(ctx, conn); err != nil {
			return err
		}
	}
	reply, err := ask(conn, a.DNS)
	if err != nil {
		return err
	}
	return lookAtReply(a.DNS, reply)
}

// ask sends the question and waits for its answer.
func ask(conn net.Conn, q *probe.Query) (*dns.Msg, error) {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(q.Name), dns.StringToType[q.Type])
	m.SetEdns0(datagramLimit, false)
	c := dns.Conn{Conn: conn, UDPSize: datagramLimit}
	if err := c.WriteMsg(m); err != nil {
		return nil, fail("send", err)
	}
	for range strayMax {
		reply, err := c.ReadMsg()
		if err != nil {
			return nil, dnsError(err)
		}
		if reply.Id == m.Id && reply.Response && slices.EqualFunc(reply.Question, m.Question, sameQuestion) {
			return reply, nil
		}
	}
	return nil, fail("response", errors.New("the server answers other questions"))
}

func sameQuestion(a, b dns.Question) bool {
	return strings.EqualFold(a.Name, b.Name) && a.Qtype == b.Qtype && a.Qclass == b.Qclass
}

func dnsError(err error) error {
	if err = readError("response", err); strings.HasSuffix(err.Error(), "not HTTP") {
		return fail("response", errors.New("not DNS"))
	}
	return err
}

// lookAtReply says whether a reply is as wanted.
func lookAtReply(q *probe.Query, reply *dns.Msg) error {
	if got := dns.RcodeToString[reply.Rcode]; got != q.Rcode {
		return fmt.Errorf("rcode %s, want %s", got, q.Rcode)
	}
	var have []string
	for _, rr := range reply.Answer {
		if rr.Header().Rrtype == dns.StringToType[q.Type] {
			have = append(have, plainData(strings.TrimPrefix(rr.String(), rr.Header().String())))
		}
	}
	for _, want := range q.Answers {
		if slices.Contains(have, plainData(want)) {
			continue
		}
		if reply.Truncated {
			return errors.New("answer: it is truncated; use transport tcp")
		}
		return fmt.Errorf("answer: there is no %s %s", q.Type, clip(want, 60))
	}
	return nil
}

// plainData is a record's data in one form however it is written: quotes, case, spaces and dots at the ends of names left aside.
func plainData(text string) string {
	words := strings.Fields(strings.ToLower(strings.ReplaceAll(text, `"`, "")))
	for i, w := range words {
		words[i] = strings.TrimSuffix(w, ".")
	}
	return strings.Join(words, " ")
}
