package answer

import (
	"math"
	"testing"

	"github.com/gti/gtm/pkg/table"
)

// sampling gives a server that samples, with room for so many.
func sampling(t testing.TB, room int) *server {
	t.Helper()
	s := newServer(t)
	s.a.cfg.Samples, s.a.sampleAt, s.a.cfg.Elsewhere = NewSamples(room), 1, table.NewZoneCounts("none", 1)
	return s
}

// TestWhatIsSampled: the service that answered, as it was asked for, also behind a CNAME, and the client as steering sees it.
func TestWhatIsSampled(t *testing.T) {
	s := sampling(t, 1)
	resolver := table.HostNet(s.src.Addr()).Addr().String()
	for _, c := range []struct {
		name, qtype, ecs string
		service, client  string
	}{
		{"web.shop.gtm.example.", "A", "91.198.174.0/24", "shop/web", "91.198.174.0"},
		{"web.shop.gtm.example.", "A", "", "shop/web", resolver},
		{"to-web.gtm.example.", "A", "", "shop/web", resolver},
		{"web.shop.gtm.example.", "TXT", "", "", ""},
		{"web.shop.gtm.example.", "CH", "", "", ""}, // of that class
		{"gtm.example.", "NS", "", "", ""},
		{"nothing.example.net.", "A", "", "", ""},
	} {
		for _, ahead := range []bool{false, true} {
			options := []string{}
			if c.ecs != "" {
				options = append(options, "ecs="+c.ecs)
			}
			qtype := c.qtype
			if qtype == "CH" {
				qtype, options = "A", append(options, "ch")
			}
			packed, err := query(t, c.name, qtype, options...).Pack()
			if err != nil {
				t.Fatal(err)
			}
			buf, meta := make([]byte, 4096), &Meta{Source: s.src}
			if ahead {
				s.a.Parse(0, packed, s.src)
				s.a.Prefetch(1)
				meta.Prefetched = 1
			}
			s.a.Answer(buf, copy(buf, packed), meta)
			s.a.Flush()
			got := takeOne(t, s.a.cfg.Samples)
			is, client := "", ""
			if got.Service != "" {
				is, client = got.Tenant+"/"+got.Service, got.Client.Addr().String()
			}
			if is != c.service || client != c.client || got.Queries != 1 {
				t.Errorf("%s %s, ahead %v: %+v of %s, want %s of %s", c.name, c.qtype, ahead, got, client, c.service, c.client)
			}
		}
	}
}

func takeOne(t *testing.T, s *Samples) (one Sample) {
	t.Helper()
	n := 0
	if lost := s.Take(func(got Sample) { one = got; n++ }); n != 1 || lost != 0 {
		t.Fatalf("%d samples, %d lost", n, lost)
	}
	return one
}

// TestSamplesStandForAll: those that are taken, and those that are lost, stand for all queries, whatever the batches.
func TestSamplesStandForAll(t *testing.T) {
	s := sampling(t, 8)
	packed, err := query(t, "web.shop.gtm.example.", "A").Pack()
	if err != nil {
		t.Fatal(err)
	}
	buf, meta := make([]byte, 4096), &Meta{Source: s.src}
	ask := func(batch int) {
		for range batch {
			s.a.Answer(buf, copy(buf, packed), meta)
		}
		s.a.Flush()
	}
	s.a.Flush() // of nothing
	for range 20 {
		ask(3)
	}
	took, taken := uint64(0), 0
	lost := s.a.cfg.Samples.Take(func(got Sample) { took += got.Queries; taken++ })
	if took != 24 || taken != 8 || lost != 36 {
		t.Errorf("%d samples for %d queries, %d lost", taken, took, lost)
	}
	s.a.cfg.Samples.Every(100)
	took, taken = 0, 0
	for range 40_000 {
		ask(1)
		lost += s.a.cfg.Samples.Take(func(got Sample) { took += got.Queries; taken++ })
	}
	if lost != 36 || took < 39_000 || took > 40_000 || math.Abs(float64(taken)-400) > 60 {
		t.Errorf("%d samples for %d of 40000 queries, %d lost", taken, took, lost)
	}
}

// TestSamplingDoesNotAllocate, be there room or not.
func TestSamplingDoesNotAllocate(t *testing.T) {
	s := sampling(t, 4)
	packed, err := query(t, "web.shop.gtm.example.", "A", "ecs=91.198.174.0/24").Pack()
	if err != nil {
		t.Fatal(err)
	}
	buf, meta, samples := make([]byte, 4096), &Meta{Source: s.src}, 0
	for _, take := range []bool{true, false} {
		if n := testing.AllocsPerRun(300, func() {
			for i := range Window {
				s.a.Parse(i, packed, s.src)
			}
			s.a.Prefetch(Window)
			for i := range Window {
				meta.Prefetched = 1 + i
				s.a.Answer(buf, copy(buf, packed), meta)
			}
			s.a.Flush()
			if take {
				s.a.cfg.Samples.Take(func(Sample) { samples++ })
			}
		}); n != 0 {
			t.Errorf("taken away %v: %v allocations a window", take, n)
		}
	}
	if samples < 300 {
		t.Errorf("%d samples", samples)
	}
}

// TestSamplesDoNotGoByTurns: of names that are asked for in turn, each is sampled.
func TestSamplesDoNotGoByTurns(t *testing.T) {
	s := sampling(t, 1)
	s.a.cfg.Samples.Every(4)
	buf, meta := make([]byte, 4096), &Meta{Source: s.src}
	var turns [2][]byte
	for i, name := range []string{"web.shop.gtm.example.", "gtm.example."} {
		packed, err := query(t, name, "A").Pack()
		if err != nil {
			t.Fatal(err)
		}
		turns[i] = packed
	}
	web, all := 0, 0
	for i := range 8000 {
		s.a.Answer(buf, copy(buf, turns[i%2]), meta)
		s.a.Flush()
		s.a.cfg.Samples.Take(func(got Sample) {
			all++
			if got.Service == "web" {
				web++
			}
		})
	}
	if all < 1800 || all > 2200 || math.Abs(float64(web)/float64(all)-0.5) > 0.1 {
		t.Errorf("%d of %d samples are of one of two", web, all)
	}
}
