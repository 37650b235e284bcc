//go:build interop

package interop

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// rollTime is how long one rollover may take; the timings of the zones add up to some ten seconds.
const rollTime = 90 * time.Second

// A witness asks a validating resolver again and again, and remembers what was not right.
type witness struct {
	name  string
	asked atomic.Int64
	mu    sync.Mutex
	wrong []string
}

// watch asks for kinds of answers in turn until ctx ends.
func (w *witness) watch(ctx context.Context, at netip.AddrPort) {
	questions := []struct {
		name   string
		typ    uint16
		answer bool
	}{
		{"www.gtm.test.", dns.TypeA, true}, {"nothing%d.gtm.test.", dns.TypeA, false}, {"www.gtm.test.", dns.TypeMX, false},
		{"n%d.w.gtm.test.", dns.TypeTXT, true}, {"n%d.w.gtm.test.", dns.TypeA, false}, {"all.shop.gtm.test.", dns.TypeA, true},
		{"web.shop.gtm.test.", dns.TypeHTTPS, true}, {"all.shop.gtm.test.", dns.TypeMX, false}, {"x.old.gtm.test.", dns.TypeA, true},
		{"gtm.test.", dns.TypeDNSKEY, true}, {"gtm.test.", dns.TypeA, true}, {"child.gtm.test.", dns.TypeDS, true},
		{"www.child.gtm.test.", dns.TypeA, true},
		{"n%d.w.child.gtm.test.", dns.TypeA, true}, {"nothing%d.child.gtm.test.", dns.TypeA, false},
		{"child.gtm.test.", dns.TypeDNSKEY, true},
	}
	for ctx.Err() == nil {
		q := questions[int(w.asked.Add(1))%len(questions)]
		name := q.name
		if strings.Contains(name, "%d") {
			name = fmt.Sprintf(name, w.asked.Load()%97)
		}
		r, err := askValidated(at, name, q.typ, "")
		switch {
		case err != nil:
			w.complain("%s %s: %v", name, dns.Type(q.typ), err)
		case r.Rcode != dns.RcodeSuccess || !r.AuthenticatedData || (len(r.Answer) > 0) != q.answer:
			w.complain("%v", r)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (w *witness) complain(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrong = append(w.wrong, time.Now().UTC().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// While zone-signing and key-signing keys roll, no answer is bogus at any time for resolvers that hold what was before.
func TestRolloverIsNeverBogus(t *testing.T) {
	s := startSigned(t, 3, "")
	ctx, cancel := context.WithCancel(context.Background())
	var witnesses []*witness
	var group sync.WaitGroup
	for _, v := range validators {
		w := &witness{name: v.name}
		witnesses = append(witnesses, w)
		at := s.startValidator(t, s.dns, v.modules, v.more)
		group.Go(func() { w.watch(ctx, at) })
	}
	end := func() {
		cancel()
		group.Wait()
	}
	t.Cleanup(end)

	before := map[string][]zoneKey{}
	for _, zone := range []string{"gtm.test", "child.gtm.test"} {
		before[zone] = s.keys(t, zone)
		gtmctl(t, s.daemon, "dnssec", "roll", zone)
	}
	for zone, old := range before {
		s.waitRolled(t, zone, "ZSK", old)
	}
	s.rollKSK(t, "child.gtm.test")
	s.rollAlgorithm(t, "child.gtm.test", "ed25519", "ecdsa-p256")

	time.Sleep(5 * time.Second) // what was cached last goes, and nothing may come then that is bogus either
	end()
	for _, w := range witnesses {
		t.Logf("%s: %d answers, %d of them wrong", w.name, w.asked.Load(), len(w.wrong))
		if len(w.wrong) > 0 {
			t.Errorf("%s: the first of what was wrong:\n%s", w.name, strings.Join(w.wrong[:min(3, len(w.wrong))], "\n"))
		}
		if w.asked.Load() < 200 {
			t.Errorf("%s: only %d questions", w.name, w.asked.Load())
		}
	}
}

// rollKSK takes the zone's next key-signing key as far as the parent, as people would, and waits until the old one is gone.
func (s *signedJob) rollKSK(t *testing.T, zone string) {
	t.Helper()
	old := s.keys(t, zone)
	gtmctl(t, s.daemon, "dnssec", "roll", zone, "--ksk")
	var both []string
	eventually(t, rollTime, "both DS are offered", func() error {
		if both = s.ds(t, zone); len(both) < 2 {
			return fmt.Errorf("%q", both)
		}
		return nil
	})
	applyText(t, s.daemon, signedParent(3, both))
	gtmctl(t, s.daemon, "dnssec", "ds-seen", zone)
	fresh := s.ds(t, zone)
	if len(fresh) != 1 || !slices.Contains(both, fresh[0]) {
		t.Fatalf("DS of the new key: %q of %q", fresh, both)
	}
	applyText(t, s.daemon, signedParent(3, fresh))
	s.waitRolled(t, zone, "KSK", old)
}

// rollAlgorithm has the zone go to another algorithm, and takes its DS to the parent.
func (s *signedJob) rollAlgorithm(t *testing.T, zone, from, to string) {
	t.Helper()
	old, ds := s.keys(t, zone), s.ds(t, zone)
	applyText(t, s.daemon, strings.TrimPrefix(strings.Replace(signedRest(3), "algorithm: "+from, "algorithm: "+to, 1), "---\n"))
	fresh := ds
	eventually(t, rollTime, "the DS of the other algorithm is offered", func() error {
		if fresh = s.ds(t, zone); slices.Equal(fresh, ds) {
			return fmt.Errorf("%q", fresh)
		}
		return nil
	})
	applyText(t, s.daemon, signedParent(3, fresh))
	gtmctl(t, s.daemon, "dnssec", "ds-seen", zone)
	s.waitRolled(t, zone, "KSK", old)
	s.waitRolled(t, zone, "ZSK", old)
}

// waitRolled waits until a zone has one key of a role, active, and another than before.
func (s *signedJob) waitRolled(t *testing.T, zone, role string, before []zoneKey) {
	t.Helper()
	of := func(keys []zoneKey) (list []zoneKey) {
		for _, k := range keys {
			if k.Role == role {
				list = append(list, k)
			}
		}
		return list
	}
	eventually(t, rollTime, "the "+role+" of "+zone+" has rolled", func() error {
		now := of(s.keys(t, zone))
		if len(now) != 1 || now[0].Phase != "active" || now[0].Tag == of(before)[0].Tag {
			return errors.New(fmt.Sprint(now))
		}
		return nil
	})
}
