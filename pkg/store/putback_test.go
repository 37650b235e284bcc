package store

import (
	"context"
	"slices"
	"testing"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store/storetest"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

func TestPutBack(t *testing.T) {
	c, ctx := testClient(t), storetest.Context(t)
	for _, ks := range []dnssec.Keyset{{Zone: "newer.", Serial: 1}, {Zone: "older.", Serial: 1}, {Zone: "older.", Serial: 2},
		{Zone: "same.", Serial: 1}} {
		if err := c.PutKeyset(ctx, ks); err != nil {
			t.Fatal(err)
		}
	}
	put(t, c, c.keys.Keyset("damaged."), "{")
	there := storetest.VerdictOf("shop", "eu", 1)
	put(t, c, c.keys.Verdict(there.Pool), `{"pool":{"tenant":"shop","pool":"eu"},"endpoints":null}`)
	zones, err := c.PutBack(ctx, []dnssec.Keyset{{Zone: "same.", Serial: 1}, {Zone: "newer.", Serial: 4}, {Zone: "older.", Serial: 1},
		{Zone: "gone.", Serial: 3}, {Zone: "damaged.", Serial: 2}}, []health.Verdict{there, storetest.VerdictOf("shop", "us", 1)})
	if want := []string{"damaged.", "gone.", "newer.", "same."}; err != nil || !slices.Equal(zones, want) {
		t.Errorf("%v, %v; want %v", zones, err, want)
	}
	for zone, serial := range map[string]uint64{"newer.": 4, "older.": 2, "gone.": 3, "damaged.": 2} {
		if ks, err := c.Keyset(ctx, zone); err != nil || ks.Serial != serial {
			t.Errorf("%s: %d, %v; want %d", zone, ks.Serial, err, serial)
		}
	}
	f := follow(t, c, nil)
	f.until("both pools have a verdict", func() bool { return len(f.mirror.Verdicts()) == 2 })
	if v, _ := f.mirror.Verdict(there.Pool); v.Endpoints != nil {
		t.Errorf("a verdict that was there is overwritten: %+v", v)
	}
}

// TestKeysThatAnotherWroteMeanwhileAreNotTold: they counted as put back. What an attempt wrote whose answer was lost, is.
func TestKeysThatAnotherWroteMeanwhileAreNotTold(t *testing.T) {
	t.Parallel()
	var other *Client
	ours := dnssec.Keyset{Zone: "gtm.example.", Serial: 3}
	for name, tc := range map[string]struct {
		do   func(ctx context.Context, carry func() error) error
		ours bool
	}{
		"another's": {do: func(ctx context.Context, carry func() error) error {
			if err := other.PutKeyset(ctx, dnssec.Keyset{Zone: ours.Zone, Serial: 1}); err != nil {
				return err
			}
			return carry()
		}},
		"a lost answer": {do: losesTheAnswer, ours: true},
	} {
		c := openTest(t, Config{Endpoints: []string{sharedEndpoint(t)}, Prefix: freshPrefix()})
		c.link.Wait.Attempt = testPatience.Attempt / 5
		other = openTest(t, Config{Endpoints: []string{sharedEndpoint(t)}, Prefix: c.cfg.Prefix})
		through(t, c, onWrites(1, tc.do))
		zones, err := c.PutBack(storetest.Context(t), []dnssec.Keyset{ours}, nil)
		if err != nil || slices.Contains(zones, ours.Zone) != tc.ours {
			t.Errorf("%s: %v, %v", name, zones, err)
		}
	}
}
