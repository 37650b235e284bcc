package transfer

import (
	"context"
	"encoding/binary"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/spec"
)

const (
	// forwardTimeout is how long control may take for a message.
	forwardTimeout = 10 * time.Second
	// maxForwards bounds the messages that control has at the same time. They hold slow workers, which signatures need too,
	// and control may be dead: so few, and forwardWait for the others, which then hear SERVFAIL and come again.
	maxForwards = 2
	forwardWait = 100 * time.Millisecond
)

// updated passes an update on, if its zone can be changed with its key. Nobody else gets at control's time.
func (x *exchange) updated() Reply {
	v := x.s.cfg.View()
	if v == nil {
		return x.fail(dnswire.RcodeServFail)
	}
	z := v.Zone(x.name)
	if z == nil || z.Spec == nil {
		return x.fail(rcodeNotAuth)
	}
	name := dnswire.NameString(x.tsig.owner)
	switch {
	case slices.ContainsFunc(z.Spec.Update, func(u spec.UpdateRule) bool { return spec.KeyName(u.Key) == name }):
		return x.passOn()
	case x.sess == nil:
		return x.refuse(badKey)
	}
	return x.fail(dnswire.RcodeRefused)
}

// passOn has control answer a message.
func (x *exchange) passOn() Reply {
	forward := x.s.cfg.Forward
	if forward == nil {
		return x.fail(dnswire.RcodeNotImp)
	}
	if !x.m.Slow {
		return Reply{Deferred: true}
	}
	ctx, cancel := context.WithTimeout(context.Background(), forwardTimeout)
	defer cancel()
	select {
	case x.s.forwards <- struct{}{}:
		defer func() { <-x.s.forwards }()
	case <-time.After(forwardWait):
		x.s.warn("control has too much to do with messages that were passed on to it", "client", x.m.Source)
		return x.fail(dnswire.RcodeServFail)
	}
	msg := append([]byte(nil), x.m.Buf[:x.m.N]...)
	reply, err := forward(ctx, msg, x.m.Source)
	if err != nil || len(reply) < header || len(reply) > len(x.m.Buf) || binary.BigEndian.Uint16(reply) != binary.BigEndian.Uint16(msg) {
		x.s.warn("control did not answer a message that was passed on to it", "client", x.m.Source, "error", err)
		return x.fail(dnswire.RcodeServFail)
	}
	return Reply{Size: copy(x.m.Buf, reply)}
}

// warnEvery is how often strangers' messages may have something logged: otherwise they could fill the disk, and have the workers
// wait for it.
const warnEvery = 5 * time.Second

// sparing counts what was not logged. The zero value is ready.
type sparing struct {
	last   atomic.Int64 // when something was logged, in Unix nanoseconds
	unsaid atomic.Int64
}

// warn logs what a message from outside has brought about, but for the most part only counts it.
func (s *Server) warn(text string, args ...any) {
	now := s.cfg.Now().UnixNano()
	last := s.sparing.last.Load()
	if age := now - last; last != 0 && age >= 0 && age < int64(warnEvery) || !s.sparing.last.CompareAndSwap(last, now) {
		s.sparing.unsaid.Add(1)
		return
	}
	if n := s.sparing.unsaid.Swap(0); n > 0 {
		args = append(args, slog.Int64("like it, not logged", n))
	}
	s.log.Warn(text, args...)
}
