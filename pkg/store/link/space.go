package link

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"
)

// Space is how much of etcd's quota is used, by the member that has the least left.
type Space struct {
	Size  int64 // of the database's file, which the quota counts, in bytes
	InUse int64 // of it; the rest is what defragmentation gives back
	Quota int64 // 0: not known
	// Full: etcd has raised its alarm NOSPACE, and takes no writes.
	Full bool
	At   time.Time // when etcd said so; zero: never
}

const (
	// spaceWarn is the share of the quota from which on people are told.
	spaceWarn = 0.8
	// spaceEvery is how often etcd is asked.
	spaceEvery = 15 * time.Second
)

// Text says what is wrong and what to do, or nothing.
func (s Space) Text() string {
	switch {
	case s.Full:
		return fmt.Sprintf("etcd is full (%s of %s), and takes no writes: no change, no failover and no new lease gets through; "+
			"make room and disarm its alarm, see \"When etcd is full\" in docs/operating.md", mib(s.Size),
			cmp.Or(mib(s.Quota), "its quota"))
	case s.used() >= spaceWarn:
		return fmt.Sprintf("etcd has used %.0f %% of its quota (%s of %s, %s of it in use), and takes no writes when that is full; "+
			"make room, see \"When etcd is full\" in docs/operating.md", 100*s.used(), mib(s.Size), mib(s.Quota), mib(s.InUse))
	}
	return ""
}

func (s Space) used() float64 {
	if s.Quota <= 0 {
		return 0
	}
	return float64(s.Size) / float64(s.Quota)
}

func mib(bytes int64) string {
	if bytes <= 0 {
		return ""
	}
	return fmt.Sprintf("%.0f MiB", float64(bytes)/(1<<20))
}

// AskSpace asks all members, and gives the worst answer; an error if none answers. Members before 3.6 tell no quota.
func (l *Link) AskSpace(ctx context.Context) (worst Space, err error) {
	for _, target := range l.dialer.targets {
		one, failed := l.memberSpace(ctx, target)
		if failed != nil {
			err = failed
			continue
		}
		if worst.At.IsZero() || one.used() > worst.used() {
			one.Full = one.Full || worst.Full
			worst = one
		}
		worst.Full = worst.Full || one.Full
	}
	if worst.At.IsZero() {
		return worst, l.Explain("asking how full etcd is", err)
	}
	return worst, nil
}

func (l *Link) memberSpace(ctx context.Context, target string) (Space, error) {
	ctx, cancel := context.WithTimeout(ctx, l.Wait.Attempt)
	defer cancel()
	resp, err := l.Etcd.Status(ctx, target)
	if err != nil {
		return Space{}, err
	}
	s := Space{Size: resp.DbSize, InUse: resp.DbSizeInUse, Quota: resp.DbSizeQuota, At: time.Now()}
	for _, e := range resp.Errors {
		s.Full = s.Full || strings.Contains(e, "NOSPACE")
	}
	return s, nil
}

// Space gives what WatchSpace found last.
func (l *Link) Space() Space {
	if s := l.space.Load(); s != nil {
		return *s
	}
	return Space{}
}

// WatchSpace asks again and again until ctx ends, and tells the log and the metrics.
func (l *Link) WatchSpace(ctx context.Context) error {
	for said := ""; ; {
		s, err := l.AskSpace(ctx)
		if err == nil {
			l.space.Store(&s)
			l.metrics.showSpace(s)
			kind := ""
			switch {
			case s.Full:
				kind = "full"
			case s.Text() != "":
				kind = "nearly full"
			}
			if kind != said && kind != "" {
				l.log.Error("the store runs out of room", "etcd", s.Text())
			} else if kind != said {
				l.log.Info("the store has room again", "size", s.Size, "quota", s.Quota)
			}
			said = kind
		}
		if !Sleep(ctx, l.Wait.Space) {
			return ctx.Err()
		}
	}
}
