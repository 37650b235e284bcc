package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/bench/peers"
)

// asked is how many queries are compared before anything is measured.
const asked = 5000

// An agreement is how the answers of gtm and gdnsd compare.
type agreement struct {
	queries   int
	sameScope int
	firstGtm  int // answers with the pool's heavier address
	firstPeer int
}

func (a agreement) String() string {
	share := func(n int) float64 { return 100 * float64(n) / float64(a.queries) }
	return fmt.Sprintf("of %d answers gtm and gdnsd name the same pool in all, the same scope in %.1f %%; the address of weight 3 of 4 is in %.1f %% (gtm) and %.1f %% (gdnsd)",
		a.queries, share(a.sameScope), share(a.firstGtm), share(a.firstPeer))
}

// compareAnswers asks both servers the first queries of a file. A different pool is an error: a server that answers
// something else is not to be compared.
func compareAnswers(file string, gtm, peer int) (agreement, error) {
	var a agreement
	queries, err := readQueries(file, asked)
	if err != nil {
		return a, err
	}
	conns := make([]*dns.Conn, 2)
	for i, port := range []int{gtm, peer} {
		if conns[i], err = dns.Dial("udp", net.JoinHostPort("127.0.0.1", fmt.Sprint(port))); err != nil {
			return a, err
		}
		defer conns[i].Close()
	}
	for _, query := range queries {
		ours, err := ask(conns[0], query)
		if err != nil {
			return a, fmt.Errorf("gtm: %w", err)
		}
		theirs, err := ask(conns[1], query)
		if err != nil {
			return a, fmt.Errorf("gdnsd: %w", err)
		}
		if ours.pool.Name != theirs.pool.Name {
			return a, fmt.Errorf("%s for %s: gtm answers from pool %s, gdnsd from %s", ours.name, ours.client, ours.pool.Name, theirs.pool.Name)
		}
		a.add(ours, theirs)
	}
	for name, first := range map[string]int{"gtm": a.firstGtm, "gdnsd": a.firstPeer} {
		if share := float64(first) / float64(a.queries); share < 0.72 || share > 0.78 {
			return a, fmt.Errorf("%s draws the address of weight 3 of 4 in %.1f %% of the answers", name, 100*share)
		}
	}
	return a, nil
}

func (a *agreement) add(ours, theirs answer) {
	a.queries++
	if ours.scope == theirs.scope {
		a.sameScope++
	}
	if ours.addr == ours.pool.Addresses[0] {
		a.firstGtm++
	}
	if theirs.addr == theirs.pool.Addresses[0] {
		a.firstPeer++
	}
}

// readQueries reads the first n queries of a file.
func readQueries(file string, n int) ([][]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var queries [][]byte
	for len(text) > 2 && len(queries) < n {
		size := int(binary.BigEndian.Uint16(text)) + 2
		if size > len(text) {
			return nil, fmt.Errorf("%s ends within a query", file)
		}
		queries = append(queries, text[2:size])
		text = text[size:]
	}
	return queries, nil
}

// An answer is what one server says.
type answer struct {
	name, client string
	addr         netip.Addr
	pool         peers.Pool
	scope        uint8
}

func ask(conn *dns.Conn, query []byte) (answer, error) {
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return answer{}, err
	}
	if _, err := conn.Write(query); err != nil {
		return answer{}, err
	}
	reply, err := conn.ReadMsg()
	if err != nil {
		return answer{}, err
	}
	if len(reply.Question) != 1 || len(reply.Answer) != 1 {
		return answer{}, fmt.Errorf("not one answer: %s", strings.ReplaceAll(reply.String(), "\n", " | "))
	}
	a := answer{name: reply.Question[0].Name}
	if record, ok := reply.Answer[0].(*dns.A); ok {
		a.addr, _ = netip.AddrFromSlice(record.A.To4())
	}
	var known bool
	if a.pool, known = peers.PoolOf(a.addr); !known {
		return answer{}, fmt.Errorf("%s is in no pool", reply.Answer[0])
	}
	if opt := reply.IsEdns0(); opt != nil {
		for _, option := range opt.Option {
			if subnet, ok := option.(*dns.EDNS0_SUBNET); ok {
				a.client, a.scope = subnet.Address.String(), subnet.SourceScope
			}
		}
	}
	return a, nil
}
