package retention

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/gtmtest/etcds"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// BenchmarkTenThousandChanges tells how large the store is after each thousand of ten thousand changes, one every quarter of an hour, of
// which a day's and at least 50 stay: keys, and what of the database is in use once it is compacted. Each changes 20 of 200 sites.
func BenchmarkTenThousandChanges(b *testing.B) {
	for b.Loop() {
		endpoint := etcds.Start(b)
		var quarters atomic.Int64
		now := func() time.Time { return at(0).Add(time.Duration(quarters.Load()) * 15 * time.Minute) }
		c, stop := start(b, store.Config{Endpoints: []string{endpoint}}, auditDir(b), now)
		etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
		if err != nil {
			b.Fatal(err)
		}
		ctx := context.Background()
		apply := func(put []*spec.Resource) {
			plan, err := c.changer.Plan(ctx, change.Input{Put: put, Author: "alice"})
			if err == nil {
				_, err = c.changer.Apply(ctx, plan)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		apply([]*spec.Resource{kept(50)})
		for n := range 10_000 {
			var put []*spec.Resource
			for i := range 20 {
				put = append(put, site(fmt.Sprint("s", (n*20+i)%200), n))
			}
			apply(put)
			quarters.Add(1)
			if (n+1)%1000 == 0 {
				keys, bytes := sizeOf(b, c, etcd, now)
				b.Logf("after %d changes: %d keys, %.1f MB in use, @%d is the oldest", n+1, keys, float64(bytes)/1e6, oldestOf(b, c))
				b.ReportMetric(float64(keys), fmt.Sprintf("keys/%d", n+1))
				b.ReportMetric(float64(bytes)/1e6, fmt.Sprintf("MB/%d", n+1))
			}
		}
		b.Logf("the audit log has %.1f MB", float64(c.audit.Status().Bytes)/1e6)
		etcd.Close()
		stop()
	}
}

func oldestOf(b *testing.B, c *control) state.Generation {
	oldest, err := c.store.Oldest(context.Background(), spec.Platform)
	if err != nil {
		b.Fatal(err)
	}
	return oldest
}

// sizeOf waits until what is old is gone, and gives how many keys there are, and how many bytes after a compaction.
func sizeOf(b *testing.B, c *control, etcd *clientv3.Client, now func() time.Time) (keys, bytes int64) {
	ctx := context.Background()
	gtmtest.Eventually(b, "what is old is gone", func() error {
		records, err := c.store.History(ctx, spec.Platform, 0)
		if err == nil && len(records) > 50 && records[len(records)-2].Time.Before(now().Add(-24*time.Hour)) {
			err = fmt.Errorf("%d generations", len(records))
		}
		return err
	})
	all, err := etcd.Get(ctx, store.DefaultPrefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		b.Fatal(err)
	}
	if _, err := etcd.Compact(ctx, all.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		b.Fatal(err)
	}
	status, err := etcd.Status(ctx, etcd.Endpoints()[0])
	if err != nil {
		b.Fatal(err)
	}
	return all.Count, status.DbSizeInUse
}
