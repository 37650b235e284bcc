package link

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"
)

// Of several members of a cluster, one may be of no use: it is cut off from the others, it stands still, its disk hangs. A call
// meets it in one of two ways. A member without a leader refuses at once, since all calls ask for one, and the call goes to the
// next (Link.unary). From a member that is silent no answer comes: an attempt has a time of its own, shorter than the call's
// (Link.Attempts). In both cases the member is left alone for a while (standing), or every third call would meet it again.

// avoidance is how long a member is left alone that refused a call or let one wait in vain. Then one call tries it.
const avoidance = 30 * time.Second

// Pauses between two attempts.
const (
	attemptPauseMin = 50 * time.Millisecond
	attemptPauseMax = 500 * time.Millisecond
)

// bridge is how long a call that every member refuses is repeated within one attempt: a restart or an election passes.
const bridge = 2 * time.Second

// unsent marks a call of which nothing left this process: there was no connection.
type unsent struct{ error }

func (u unsent) Unwrap() error { return u.error }

// GRPCStatus is never one of a time that is up, which etcd's client would take for that of a call that was sent.
func (u unsent) GRPCStatus() *status.Status {
	return status.New(codes.Unavailable, status.Convert(u.error).Message())
}

func newUnsent(err error) error {
	switch status.Code(err) {
	case codes.DeadlineExceeded:
		return unsent{context.DeadlineExceeded}
	case codes.Canceled:
		return unsent{context.Canceled}
	}
	return unsent{err}
}

// Refused tells that a call was certainly not carried out: etcd says so, or it never got it.
func Refused(err error) bool {
	return wasNotSent(err) || is(err, rpctypes.ErrNoLeader) || is(err, rpctypes.ErrTooManyRequests) ||
		err != nil && strings.Contains(err.Error(), "raft proposal dropped")
}

func wasNotSent(err error) bool { return errors.As(err, new(unsent)) }

// is compares what etcd said, also where it did not pass etcd's client yet.
func is(err, etcds error) bool {
	return err != nil && (errors.Is(err, etcds) || rpctypes.ErrorDesc(err) == rpctypes.ErrorDesc(etcds))
}

// Lost tells that no answer came, or one that leaves open whether the call was carried out.
func Lost(err error) bool {
	if err == nil || Refused(err) {
		return false
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return true
	}
	code := status.Code(err)
	var said rpctypes.EtcdError
	if errors.As(err, &said) {
		code = said.Code()
	}
	return code == codes.Unavailable || code == codes.DeadlineExceeded || code == codes.Canceled
}

// worthwhile tells that another attempt may fare better. Where there was no connection, one attempt was long enough.
func worthwhile(err error) bool {
	return Lost(err) || Refused(err) && !wasNotSent(err) || errors.Is(err, context.DeadlineExceeded)
}

// Attempts calls fn until it is answered, and gives the error of the last attempt. The first has the time first, each further one
// twice as much; all together have total. fn must be such that making it twice does no harm.
func (l *Link) Attempts(ctx context.Context, first, total time.Duration, fn func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, total)
	defer cancel()
	var before error
	pause := attemptPauseMin
	for each := first; ; each *= 2 {
		one, done := context.WithTimeout(ctx, each)
		err := fn(one)
		done()
		switch {
		case err == nil:
			return nil
		case before != nil && errors.Is(err, context.DeadlineExceeded):
			err = before // it tells more than that the time is up
		}
		if ctx.Err() != nil || !worthwhile(err) || !Sleep(ctx, pause) {
			return err
		}
		before, pause = err, min(2*pause, attemptPauseMax)
	}
}

// Try is Attempts for a call that is small.
func (l *Link) Try(ctx context.Context, fn func(ctx context.Context) error) error {
	return l.Attempts(ctx, l.Wait.Attempt, l.Wait.Call, fn)
}

// unary makes a call of one answer. It repeats what was refused, on one member after the other; and reads, when they fail.
func (l *Link) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn,
	invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	ctx = clientv3.WithRequireLeader(ctx)
	if _, bounded := ctx.Deadline(); !bounded { // a candidate's, which may wait for long, but not for one answer
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.Wait.Call)
		defer cancel()
	}
	var before error
	for begun := time.Now(); ; {
		var at peer.Peer
		// Not waiting for a connection: the error tells why there is none.
		err := invoke(ctx, method, req, reply, cc, append(slices.Clone(opts), grpc.WaitForReady(false), grpc.Peer(&at))...)
		if err == nil {
			return nil
		}
		if at.Addr == nil {
			err = newUnsent(err)
		}
		if before != nil && wasNotSent(err) && errors.Is(err, context.DeadlineExceeded) {
			return before // it tells more
		}
		again := Refused(err) || method == "/etcdserverpb.KV/Range" && status.Code(err) == codes.Unavailable
		if !again || time.Since(begun) > bridge || !Sleep(ctx, attemptPauseMin) {
			return err
		}
		before = err
	}
}

// balancerName is what the balancer below is asked for by.
const balancerName = "gtm_members"

func init() { balancer.Register(memberBalancer{}) } // grpc finds balancers by name only

// memberBalancer sends calls to the members in turn, but to those of good standing as long as there is one.
type memberBalancer struct{}

func (memberBalancer) Name() string { return balancerName }

func (memberBalancer) Build(cc balancer.ClientConn, opts balancer.BuildOptions) balancer.Balancer {
	m := &members{now: time.Now, avoid: map[string]time.Time{}, next: rand.IntN(1 << 16)}
	return flat{base.NewBalancerBuilder(balancerName, m, base.Config{}).Build(cc, opts)}
}

// flat gives the addresses of endpoints to a balancer that knows addresses only.
type flat struct{ balancer.Balancer }

func (f flat) UpdateClientConnState(s balancer.ClientConnState) error {
	s.ResolverState.Addresses = nil
	for _, e := range s.ResolverState.Endpoints {
		s.ResolverState.Addresses = append(s.ResolverState.Addresses, e.Addresses...)
	}
	return f.Balancer.UpdateClientConnState(s)
}

// members is what one connection knows of the members' standing.
type members struct {
	now   func() time.Time
	mu    sync.Mutex
	next  int
	avoid map[string]time.Time // until when, by address; a member of good standing is not there
}

// Build makes a picker of the members that are connected.
func (m *members) Build(info base.PickerBuildInfo) balancer.Picker {
	if len(info.ReadySCs) == 0 {
		return base.NewErrPicker(balancer.ErrNoSubConnAvailable)
	}
	p := &picker{members: m}
	for sc, about := range info.ReadySCs {
		p.ready = append(p.ready, connected{sc, about.Address})
	}
	slices.SortFunc(p.ready, func(a, b connected) int { return strings.Compare(a.at.Addr, b.at.Addr) })
	return p
}

type connected struct {
	balancer.SubConn
	at resolver.Address
}

type picker struct {
	members *members
	ready   []connected
}

// Pick takes the next member of good standing; where there is none, the next.
func (p *picker) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	m := p.members
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next++
	now, chosen := m.now(), p.ready[m.next%len(p.ready)]
	for i := range p.ready {
		one := p.ready[(m.next+i)%len(p.ready)]
		until, bad := m.avoid[one.at.Addr]
		if bad && now.Before(until) {
			continue
		}
		if chosen = one; bad { // this call tries it, and no other for now
			m.avoid[one.at.Addr] = now.Add(avoidance)
		}
		break
	}
	addr := chosen.at.Addr
	return balancer.PickResult{SubConn: chosen.SubConn, Done: func(d balancer.DoneInfo) { m.done(addr, d) }}, nil
}

// done takes note of how a call to a member went.
func (m *members) done(addr string, d balancer.DoneInfo) {
	code := status.Code(d.Err)
	silent := code == codes.DeadlineExceeded && !d.BytesReceived
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case silent || code == codes.Unavailable:
		m.avoid[addr] = m.now().Add(avoidance)
	case d.Err == nil:
		delete(m.avoid, addr)
	}
}
