//go:build !noembed

package embedded

import (
	"context"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// How the embedded etcd keeps space free. Each of them is done by etcd while it stands still or works slower, so none is done often.
type spaceKeeping struct {
	every   time.Duration // between two checks
	least   int64         // a smaller database is not defragmented
	keep    int64         // revisions of history that stay when it is compacted before its time
	compact time.Duration // between two such compactions
	defrag  time.Duration // between two defragmentations, while less than half of the quota is used
}

var embeddedSpace = spaceKeeping{every: 10 * time.Second, least: 256 << 20, keep: 1000, compact: time.Minute, defrag: 10 * time.Minute}

// spaceKeeper compacts and defragments in time, and disarms the alarm once there is space: nobody else looks after an embedded etcd.
type spaceKeeper struct {
	spaceKeeping
	e                 *embed.Etcd
	quota             int64
	compacted, defrag time.Time
}

// run checks until ctx ends.
func (k *spaceKeeper) run(ctx context.Context) {
	tick := time.NewTicker(k.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			k.check(ctx, now)
		}
	}
}

func (k *spaceKeeper) check(ctx context.Context, now time.Time) {
	b, log := k.e.Server.Backend(), k.e.GetLogger()
	full := len(k.e.Server.Alarms()) > 0
	tight := full || b.Size() > k.quota/2
	if tight && (full || b.SizeInUse() > k.quota/2) && now.Sub(k.compacted) >= k.compact {
		k.compacted = now
		if rev := k.e.Server.KV().Rev() - k.keep; rev > 0 {
			log.Warn("gtm: history is compacted before its time", zap.Int64("size", b.Size()), zap.Int64("quota", k.quota))
			_, err := k.e.Server.Compact(ctx, &pb.CompactionRequest{Revision: rev, Physical: true})
			if err != nil {
				log.Info("gtm: nothing was compacted", zap.Error(err))
			}
		}
	}
	if size := b.Size(); b.SizeInUse() < size/2 && (tight || size > k.least && now.Sub(k.defrag) >= k.spaceKeeping.defrag) {
		k.defrag = now
		if err := k.e.Server.Defragment(); err != nil {
			log.Error("gtm: the database was not defragmented", zap.Error(err))
		}
	}
	if full && b.Size() < k.quota*3/4 {
		_, err := k.e.Server.Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, Alarm: pb.AlarmType_NOSPACE,
			MemberID: uint64(k.e.Server.MemberID())})
		log.Warn("gtm: there is room again, and etcd takes writes", zap.Int64("size", b.Size()), zap.Error(err))
	}
}
