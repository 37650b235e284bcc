package transfer

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/spec"
)

// ControlConfig is what a Control needs.
type ControlConfig struct {
	Changer *change.Changer
	// Changed is closed at the next change of the configuration; nil: there is no such news, and zones are looked at now and then.
	Changed    func() <-chan struct{}
	Keys       *Keyring
	Logger     *slog.Logger          // nil: discards
	Registerer prometheus.Registerer // nil: no metrics
	Now        func() time.Time      // nil: time.Now
	// MinRefresh is the shortest time between two looks at a primary, whatever the zone says. Default 5s.
	MinRefresh time.Duration
}

// Control does what changes configuration: it applies dynamic updates (RFC 2136), and keeps zones as their primaries have them
// (RFC 1034, 4.3.5; RFC 1996). Edges pass on what reaches them. It is safe for concurrent use.
type Control struct {
	cfg     ControlConfig
	server  *Server // for TSIG
	log     *slog.Logger
	updates *prometheus.CounterVec
	fetches *prometheus.CounterVec

	mu    sync.Mutex
	pulls map[string]*pull // by zone
}

// NewControl makes a Control.
func NewControl(cfg ControlConfig) (*Control, error) {
	if cfg.MinRefresh <= 0 {
		cfg.MinRefresh = 5 * time.Second
	}
	server, err := New(Config{Keys: cfg.Keys, Logger: cfg.Logger, Now: cfg.Now})
	if err != nil {
		return nil, err
	}
	c := &Control{cfg: cfg, server: server, log: server.log, pulls: map[string]*pull{},
		updates: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gtm_transfer_updates_total",
			Help: "Dynamic updates, by RCODE."}, []string{"rcode"}),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gtm_transfer_in_total",
			Help: "Looks at primaries, by result: current, copied, failed."}, []string{"result"})}
	if cfg.Registerer != nil {
		err = errors.Join(cfg.Registerer.Register(c.updates), cfg.Registerer.Register(c.fetches))
	}
	return c, err
}

// Handle answers an UPDATE or NOTIFY that reached an edge; nil: no answer.
func (c *Control) Handle(ctx context.Context, msg []byte, source netip.AddrPort) []byte {
	buf := make([]byte, max(len(msg), 2048))
	m := &Message{Buf: buf, N: copy(buf, msg), Source: source, Stream: true, Slow: true}
	x := &exchange{s: c.server, m: m, plain: buf[:m.N]}
	t, err := findTSIG(x.plain)
	var r Reply
	ok := true
	switch {
	case err != nil || !x.question():
		r, ok = x.fail(dnswire.RcodeFormErr), false
	case t != nil:
		x.tsig = t
		r, ok = x.authenticate()
	}
	if ok {
		rcode := uint16(dnswire.RcodeNotImp)
		switch x.plain[2] >> 3 & 0xF {
		case opcodeUpdate:
			rcode = c.update(ctx, x)
			c.updates.WithLabelValues(dnswire.RcodeString(rcode)).Inc()
		case opcodeNotify:
			rcode = c.notified(ctx, x)
		}
		r = x.fail(rcode)
	}
	return buf[:r.Size]
}

const opcodeUpdate = 5

// sourceHeader tells control where a message came from.
const sourceHeader = "Gtm-Source"

const messageType = "application/dns-message"

// ServeHTTP takes messages that edges of other machines pass on, by POST. What they may do is decided by their TSIG.
func (c *Control) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	source, err := netip.ParseAddrPort(r.Header.Get(sourceHeader))
	if r.Method != http.MethodPost || err != nil || r.Header.Get("Content-Type") != messageType {
		http.Error(w, "wants a POST of "+messageType+" with "+sourceHeader, http.StatusBadRequest)
		return
	}
	msg, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 65535))
	if err != nil {
		http.Error(w, "the message is too long", http.StatusRequestEntityTooLarge)
		return
	}
	w.Header().Set("Content-Type", messageType)
	_, _ = w.Write(c.Handle(r.Context(), msg, source)) // the edge is gone: nothing to do
}

// zoneSpec finds the zone of an exchange.
func (c *Control) zoneSpec(ctx context.Context, x *exchange) (*spec.Resource, *spec.Zone, error) {
	state, err := c.cfg.Changer.State(ctx)
	if err != nil {
		return nil, nil, err
	}
	r := state.Get(zoneKey(dnswire.NameString(x.name)))
	if r == nil {
		return nil, nil, nil
	}
	z, _ := r.Spec.(*spec.Zone)
	return r, z, nil
}

func zoneKey(name string) spec.Key {
	return spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: name}
}

// keyed reports whether the exchange is signed with a key of that name.
func (x *exchange) keyed(name string) bool {
	return x.sess != nil && x.sess.key.name == spec.KeyName(name)
}

// notified has a zone looked at soon.
func (c *Control) notified(ctx context.Context, x *exchange) uint16 {
	_, z, err := c.zoneSpec(ctx, x)
	switch {
	case err != nil:
		return dnswire.RcodeServFail
	case z == nil:
		return rcodeNotAuth
	case !x.fromPrimary(z):
		return dnswire.RcodeRefused
	}
	c.wake(dnswire.NameString(x.name))
	return dnswire.RcodeSuccess
}
