package store

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/layout"
	"github.com/gti/gtm/pkg/store/storetest"
)

// TestPagesThatDoNotComeInTimeAreReadInSmallerOnes: a thousand versions of a zone of a million names are 160 MB, which a slow line
// does not bring in the time of one request. Whoever follows the store would ask for the same page for ever.
func TestPagesThatDoNotComeInTimeAreReadInSmallerOnes(t *testing.T) {
	t.Parallel()
	c, ctx := testClient(t), storetest.Context(t)
	const most = 100 // keys that come in time
	var limits []int64
	slow := func(ctx context.Context, req any, carry func() error) error {
		if r, ok := req.(*etcdserverpb.RangeRequest); ok {
			if limits = append(limits, r.Limit); r.Limit > most {
				<-ctx.Done()
				return ctx.Err()
			}
		}
		return carry()
	}
	etcd := behind(t, c, slow)
	var want, got []string
	for i := range 230 {
		want = append(want, c.keys.Join("page", fmt.Sprintf("%04d", i)))
		put(t, c, want[i], "x")
	}
	c.link.Wait.Call = time.Second
	err := c.reader(etcd).Each(ctx, c.keys.Join("page", ""), func(kv *mvccpb.KeyValue) error {
		got = append(got, string(kv.Key))
		return nil
	})
	if err != nil || !slices.Equal(got, want) || !slices.Equal(limits, []int64{1000, 1, most, most, most}) {
		t.Errorf("%d keys in pages of %v, %v", len(got), limits, err)
	}
}

// TestRunsThatTheCacheLacksAreReadTogether: of a zone that is larger than the cache, each change has a follower read hundreds of runs.
// One after the other, that took a round trip each: 20 s from an edge that is 20 ms away.
func TestRunsThatTheCacheLacksAreReadTogether(t *testing.T) {
	c := testClient(t)
	big := storetest.Zone("big.example.", storetest.ZoneText(20000, nil))
	mustCommit(t, c, Change{Tenant: spec.Platform, Put: storetest.Resources(big)})
	_, runs, err := layout.EncodeVersion(big)
	if err != nil {
		t.Fatal(err)
	}
	var hashes []string
	for _, r := range runs {
		hashes = append(hashes, r.Hash)
	}
	asked, refuse := 0, false
	etcd := behind(t, c, func(ctx context.Context, req any, carry func() error) error {
		asked++
		if _, ok := req.(*etcdserverpb.TxnRequest); ok && refuse {
			return status.Error(codes.Unavailable, "an election")
		}
		return carry()
	})
	for _, row := range []struct {
		refuse bool
		most   int // requests
	}{{false, (len(runs) + runsAtOnce - 1) / runsAtOnce}, {true, len(runs) + 1}} {
		asked, refuse = 0, row.refuse
		c.texts = layout.NewTextCache(100 << 10) // much less than the zone has
		got, err := c.reader(etcd).text(storetest.Context(t), hashes)
		if err != nil || got != big.Spec.(*spec.Zone).Content || asked > row.most || len(runs) < 2*runsAtOnce {
			t.Errorf("refused %v: %d bytes of %d runs in %d requests, %v", row.refuse, len(got), len(runs), asked, err)
		}
	}
}
