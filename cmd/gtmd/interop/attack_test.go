//go:build interop

package interop

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const (
	attackNames   = 200             // known names, asked for before the attack, and as many that are not
	attackTime    = 3 * time.Second // how long it goes on
	attackQueries = 60000           // in it, at most
	attackBurst   = 20
	tryTime       = 400 * time.Millisecond
	tries         = 5 // of a resolver, for one question
)

// startSignedNames starts gtmd with a signed zone of known names.
func startSignedNames(t *testing.T) *daemon {
	t.Helper()
	var b strings.Builder
	b.WriteString("kind: Zone\ntenant: platform\nname: known.test.\nspec:\n  dnssec: {}\n  content: |\n    $TTL 300\n" +
		"    @ SOA ns1 hostmaster 0 7200 1800 1209600 60\n    @ NS ns1\n    ns1 A 127.0.0.1\n")
	for i := range 2 * attackNames {
		fmt.Fprintf(&b, "    known%d A 192.0.2.%d\n", i, i%256)
	}
	d := startGtmd(t, t.TempDir(), "--roles", "edge,control", "--apply", writeFile(t, t.TempDir(), "start.yaml", b.String()))
	eventually(t, startTimeout, "the zone is signed", func() error {
		r, err := askValidated(d.dns, "known.test.", dns.TypeDNSKEY, "")
		if err == nil && len(r.Answer) < 3 {
			err = errors.New("no signed DNSKEY set")
		}
		return err
	})
	return d
}

// served is how known names were answered.
type served struct {
	asked, first, later int // questions, and those answered at the first try and at a later one
	took                []time.Duration
}

func (s *served) String() string {
	slices.Sort(s.took)
	at := func(share float64) time.Duration {
		if len(s.took) == 0 {
			return 0
		}
		return s.took[int(share*float64(len(s.took)-1))].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("%d questions: %.1f%% answered at once, %.1f%% within %d tries; half within %v, 99%% within %v",
		s.asked, 100*float64(s.first)/float64(s.asked), 100*float64(s.first+s.later)/float64(s.asked), tries, at(0.5), at(0.99))
}

// askKnown asks for the known names from one to another, as a resolver does, again and again until ctx ends, but once at least.
func askKnown(ctx context.Context, t *testing.T, at netip.AddrPort, from, to int, pause time.Duration) *served {
	s := &served{}
	for once := true; once || ctx.Err() == nil; once = false {
		for i := from; i < to; i++ {
			time.Sleep(pause)
			s.asked++
			start := time.Now()
			for try := range tries {
				m := new(dns.Msg).SetQuestion(fmt.Sprintf("known%d.known.test.", i), dns.TypeA)
				m.SetEdns0(1232, true)
				r, _, err := (&dns.Client{Timeout: tryTime}).Exchange(m, at.String())
				if err != nil {
					continue
				}
				if r.Rcode != dns.RcodeSuccess || len(r.Answer) != 2 {
					t.Errorf("a known name under attack: %v", r)
				}
				if try == 0 {
					s.first++
				} else {
					s.later++
				}
				s.took = append(s.took, time.Since(start))
				break
			}
		}
	}
	return s
}

// attack asks for random names of the zone, with DO, in bursts spread over attackTime, and tells how many.
func attack(ctx context.Context, t *testing.T, at netip.AddrPort) (sent int) {
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Error(err)
		return 0
	}
	defer conn.Close()
	random, start := rand.New(rand.NewPCG(1, 2)), time.Now()
	for ctx.Err() == nil && sent < attackQueries {
		m := new(dns.Msg).SetQuestion(fmt.Sprintf("%x.known.test.", random.Uint64()), dns.TypeA)
		m.SetEdns0(1232, true)
		packed, err := m.Pack()
		if err != nil {
			t.Error(err)
			return sent
		}
		if _, err := conn.Write(packed); err != nil {
			continue
		}
		if sent++; sent%attackBurst == 0 {
			time.Sleep(time.Until(start.Add(attackTime * time.Duration(sent) / attackQueries)))
		}
	}
	return sent
}

// An attack with random names on a signed zone, each of which wants a signature of its own, leaves known names answered: those that
// have a signature, and those that still need one.
func TestRandomNameAttack(t *testing.T) {
	d := startSignedNames(t)
	done, cancel := context.WithCancel(context.Background())
	cancel()
	askKnown(done, t, d.dns, 0, attackNames, 0) // they are signed now
	t.Logf("in peace:                   %v", askKnown(done, t, d.dns, 0, attackNames, 0))

	ctx, stop := context.WithTimeout(context.Background(), attackTime)
	defer stop()
	var group sync.WaitGroup
	var sent int
	var signed, unsigned *served
	start := time.Now()
	group.Go(func() { sent = attack(ctx, t, d.dns) })
	group.Go(func() { signed = askKnown(ctx, t, d.dns, 0, attackNames, 0) })
	group.Go(func() { unsigned = askKnown(done, t, d.dns, attackNames, 2*attackNames, attackTime/attackNames/2) })
	group.Wait()
	label := `{family="ipv4",transport="udp"}`
	t.Logf("under attack, signed before: %v", signed)
	t.Logf("under attack, not yet:       %v", unsigned)
	t.Logf("the attack: %d random names in %v; gtmd deferred %v, and dropped %v of them", sent, time.Since(start).Round(time.Millisecond),
		series(t, d, "gtm_serve_deferred_total"+label), series(t, d, `gtm_serve_drops_total{family="ipv4",reason="slow",transport="udp"}`))
	t.Logf("after it:                   %v", askKnown(done, t, d.dns, 0, attackNames, 0))
	if sent < 2000 {
		t.Errorf("only %d random names: that is no attack", sent)
	}
	if signed.first+signed.later != signed.asked {
		t.Errorf("known names that were signed before: %v", signed)
	}
	if 2*(unsigned.first+unsigned.later) < unsigned.asked { // they wait in the queue in which the attack is
		t.Errorf("known names that still need a signature: %v", unsigned)
	}
}
