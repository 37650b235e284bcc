package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/bench/peers"
)

// asked is how many queries are compared before anything is measured.
const asked = 500

// agree holds the answers of each server against those of the first. One that answers something else is not to be compared:
// that is an error.
func agree(ctx context.Context, servers []*server, queries string) error {
	var first []string
	for _, s := range servers {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		output, err := exec.CommandContext(ctx, "ip", "netns", "exec", s.load, self, "-ask", "-queries", queries).CombinedOutput()
		if err != nil {
			return fmt.Errorf("asking %s: %w: %s", s.name, err, output)
		}
		lines := strings.Split(strings.TrimSpace(string(output)), "\n")
		if first == nil {
			first = lines
		}
		if len(lines) != asked || len(first) != asked {
			return fmt.Errorf("%s gave %d answers to %d queries", s.name, len(lines), asked)
		}
		for i := range first {
			if first[i] != lines[i] {
				return fmt.Errorf("%s and %s do not agree: %s; %s", servers[0].name, s.name, first[i], lines[i])
			}
		}
	}
	return nil
}

// runAsk asks the first queries of a file through a socket, and prints a line of what counts of each answer.
func runAsk(file string, out io.Writer) error {
	queries, err := readQueries(file)
	if err != nil {
		return err
	}
	conn, err := dns.Dial("udp", serverPort.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	for i := range asked {
		reply, err := exchange(conn, queries[i%len(queries)])
		if err != nil {
			return err
		}
		fmt.Fprintln(out, essence(reply))
	}
	return nil
}

// exchange sends a query as often as three times, a second apart.
func exchange(conn *dns.Conn, query []byte) (reply *dns.Msg, err error) {
	for range 3 {
		if err = conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
			return nil, err
		}
		if _, err = conn.Write(query); err != nil {
			return nil, err
		}
		reply, err = conn.ReadMsg()
		var late net.Error
		if !errors.As(err, &late) || !late.Timeout() {
			return reply, err
		}
	}
	return nil, err
}

// essence is what all servers must say alike: the question, the response code, AA, and the records; an address of a pool,
// which is drawn, stands for its pool.
func essence(m *dns.Msg) string {
	var records []string
	for _, record := range m.Answer {
		text := strings.ReplaceAll(record.String(), "\t", " ")
		if a, ok := record.(*dns.A); ok {
			addr, _ := netip.AddrFromSlice(a.A.To4())
			if pool, ok := peers.PoolOf(addr); ok {
				text = "pool " + pool.Name
			}
		}
		records = append(records, text)
	}
	slices.Sort(records)
	name := ""
	if len(m.Question) == 1 {
		name = m.Question[0].String()
	}
	return strings.ReplaceAll(fmt.Sprintf("%s %s %v %q", name, dns.RcodeToString[m.Rcode], m.Authoritative, records), "\n", " ")
}
